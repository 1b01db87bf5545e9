"""Checkpoint names of runs that start in the same second, and what a run's last lines name."""

from __future__ import annotations

import gc
import re
from pathlib import Path

import pytest
import recbole.trainer.trainer as recboles
from recbole.trainer import Trainer

from recbole_mm.quick_start import run
from recbole_mm.testing.toy import PRE_SPLIT, QUIET, start, write_planted

SMALL = {
    **PRE_SPLIT, **QUIET, "embedding_size": 8, "train_batch_size": 64, "epochs": 1, "checkpoint_dir": "saved",
    "topk": [5], "metrics": ["Recall"], "valid_metric": "Recall@5",
}  # fmt: skip


@pytest.fixture(scope="module")
def data_path(tmp_path_factory) -> Path:
    return write_planted(tmp_path_factory.mktemp("planted"), {"visual": 6})


@pytest.fixture
def same_second(monkeypatch):
    monkeypatch.setattr(recboles, "get_local_time", lambda: "now")


@pytest.mark.parametrize("plain", [False, True])
def test_trainers_of_one_second_write_files_of_their_own(data_path, same_second, plain):
    run = start("LayerGCN", data_path, **SMALL)
    trainers = [Trainer(run.config, run.model) if plain else run.trainer() for _ in range(2)]
    assert [trainer.saved_model_file for trainer in trainers] == ["saved/LayerGCN-now.pth", "saved/LayerGCN-now-2.pth"]
    for trainer in trainers:
        trainer.fit(run.train_data, run.valid_data)
        assert Path(trainer.saved_model_file).is_file()
    assert run.trainer().saved_model_file == "saved/LayerGCN-now-3.pth"


def test_a_name_is_free_again_where_its_trainer_wrote_nothing(data_path, same_second):
    run = start("LayerGCN", data_path, **SMALL)
    run.trainer()
    gc.collect()
    assert run.trainer().saved_model_file == "saved/LayerGCN-now.pth"
    gc.collect()
    assert not [file for file in Path("saved").iterdir() if file.is_file()]


@pytest.mark.parametrize("model", ["LayerGCN", "BPR"])
def test_the_last_lines_name_the_runs_own_checkpoint_and_log(data_path, same_second, capsys, model, monkeypatch):
    """Another run writes into the same folders meanwhile."""
    fit = Trainer.fit

    def beside_another_run(trainer, *arguments, **options):
        result = fit(trainer, *arguments, **options)
        for file in (Path("saved") / f"{model}-later.pth", Path("log") / model / "later.log"):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
        return result

    monkeypatch.setattr(Trainer, "fit", beside_another_run)
    run(model, "toy", config_dict={**SMALL, "data_path": str(data_path), "state": "INFO"})
    last = dict(re.findall(r"^(checkpoint|log): (.*)$", capsys.readouterr().out, re.MULTILINE))
    assert last["checkpoint"] == f"saved/{model}-now.pth"
    assert Path(last["log"]).name != "later.log"
