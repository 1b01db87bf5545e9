"""`import recbole_mm` before RecBole, after it, and not at all: each in a fresh process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from recbole_mm.testing.toy import PRE_SPLIT, QUIET, write_planted

ROOT = Path(__file__).resolve().parents[1]

RUN = """
    settings = yaml.safe_load(open("run.yaml"))
    result = run_recbole(model="POWERec", dataset="toy", config_dict=settings)
    report["POWERec"] = result["test_result"]
"""
TUNE = """
    tuning = HyperTuning(
        objective_function, params_dict={"choice": {"weak_weight": [0, 5]}}, algo="exhaustive",
        fixed_config_file_list=["run.yaml", "names.yaml"],
    )
    tuning.run()
    report["tuned"] = {name: dict(one["test_result"]) for name, one in tuning.params2result.items()}
"""
IMPORT_FIRST = """
import json, yaml
import recbole_mm
from recbole.quick_start import objective_function, run_recbole
from recbole.trainer import HyperTuning
from recbole_mm.model.base import MultimodalRecommender
from recbole_mm.nn.loss import bpr_loss
from recbole_mm.nn.user_embedding import id_table

@recbole_mm.register_model(paper="Mine", year=2026)
class Mine(MultimodalRecommender):
    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.users, self.items = id_table(self.n_users, 4), id_table(self.n_items, 4)

    def encode(self):
        return self.users, self.items

    def calculate_loss(self, interaction):
        user, positive, negative = self.batch(interaction)
        return bpr_loss((self.users[user] * (self.items[positive] - self.items[negative])).sum(-1))

if __name__ == "__main__":
    report = {}
""" + RUN + TUNE + """
    result = run_recbole(model="Mine", dataset="toy", config_dict={**settings, "checkpoint_dir": "mine"})
    report["Mine"] = result["test_result"]
    print(json.dumps(report))
"""  # fmt: skip
IMPORT_SECOND = """
import json, yaml
from recbole.quick_start import objective_function, run_recbole
from recbole.trainer import HyperTuning
import recbole_mm

if __name__ == "__main__":
    report = {}
""" + RUN + TUNE + """
    print(json.dumps(report))
"""  # fmt: skip
NO_IMPORT = """
import json, os, sys
from pathlib import Path
from pickle import UnpicklingError
from recbole.quick_start import load_data_and_model
from recbole.utils import get_model

report = {}
try:
    get_model("POWERec")
except ModuleNotFoundError as error:
    report["unknown model"] = str(error)
newest = max(Path("saved").glob("POWERec-*.pth"), key=lambda file: file.stat().st_mtime)
try:
    load_data_and_model(str(newest))
except UnpicklingError as error:
    report["without the variable"] = str(error)
report["imported before"] = "recbole_mm" in sys.modules
os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"
config, model, dataset, *data = load_data_and_model(str(newest))
from recbole.utils import get_trainer
trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
report["trainer"], report["data set"] = type(trainer).__name__, type(dataset).__name__
report["test result"] = trainer.evaluate(data[2], load_best_model=False)
report["saved"] = str(newest)
print(json.dumps(report))
"""


@pytest.fixture(scope="module")
def workplace(tmp_path_factory) -> Path:
    folder = write_planted(tmp_path_factory.mktemp("process"), {"visual": 6})
    settings = {
        **QUIET, **PRE_SPLIT, "data_path": str(folder), "epochs": 2, "embedding_size": 8, "n_layers": 2,
        "train_batch_size": 64, "topk": [5], "metrics": ["Recall", "NDCG"], "valid_metric": "NDCG@5",
    }  # fmt: skip
    (folder / "run.yaml").write_text(json.dumps(settings))
    (folder / "names.yaml").write_text("{model: POWERec, dataset: toy, checkpoint_dir: tuned}")
    return folder


def report(script: str, folder: Path) -> dict:
    """The JSON that ends a script's output, run in a fresh interpreter where torch loads as by default."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    environment.pop("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", None)
    (folder / "script.py").write_text(script)
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def imported_first(workplace) -> dict:
    return report(IMPORT_FIRST, workplace)


def test_import_first_runs_and_tunes(imported_first):
    assert set(imported_first["POWERec"]) == {"recall@5", "ndcg@5"}
    assert set(imported_first["tuned"]) == {"weak_weight:0", "weak_weight:5"}


def test_a_model_registered_in_the_users_script_runs_by_name(imported_first):
    assert imported_first["Mine"]["recall@5"] > 0


def test_import_second_gives_the_same(imported_first, workplace):
    second = report(IMPORT_SECOND, workplace)
    assert second["POWERec"] == imported_first["POWERec"]
    assert second["tuned"] == imported_first["tuned"]


@pytest.fixture(scope="module")
def never_imported(imported_first, workplace) -> dict:
    return report(NO_IMPORT, workplace)


def test_load_data_and_model_where_the_checkpoint_imports_us(never_imported, imported_first):
    assert not never_imported["imported before"]
    assert never_imported["test result"] == imported_first["POWERec"]
    assert (never_imported["trainer"], never_imported["data set"]) == (
        "MultimodalTrainer",
        "MultimodalDataset",
    )


def test_the_variable_is_needed_for_torchs_weights_only_loading_alone(never_imported):
    """RecBole's torch.load, before we mend it, refuses every RecBole checkpoint on torch 2.6 and later."""
    if torch.__version__ < "2.6":
        pytest.skip("this torch loads RecBole's checkpoints")
    assert "Weights only load failed" in never_imported["without the variable"]


def test_without_the_import_recbole_asks_for_lightgbm(never_imported):
    """README tells users of this message."""
    if find_spec("lightgbm") is not None:
        pytest.skip("lightgbm is installed here")
    assert never_imported["unknown model"] == "No module named 'lightgbm'"
