"""What takes long to import is not imported before a command needs it; nothing here is timed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from recbole_mm.testing.toy import PRE_SPLIT, QUIET, write_planted

ROOT = Path(__file__).resolve().parents[1]
# Each takes a tenth of a second or more, alone or with what it brings.
HEAVY = (
    "IPython", "PIL", "hyperopt", "jinja2", "matplotlib", "peft", "ray", "scipy.optimize", "scipy.special",
    "scipy.stats", "sklearn", "sympy", "tensorboard", "torch._dynamo", "torch._inductor", "torch.utils.tensorboard",
    "torchvision", "transformers",
)  # fmt: skip
OF_A_RUN = ("scipy.special", "tensorboard", "torch.utils.tensorboard")  # its log for TensorBoard

# Also of the garbage collector: a library leaves it as it was, a command has what is imported looked at no more.
IMPORT = "import gc, json, sys, recbole_mm; assert gc.isenabled() and not gc.get_freeze_count()"
COMMAND = """
import gc, json, sys, recbole_mm_command
recbole_mm_command.run_command("models", ["FREEDOM"], "x")
assert gc.isenabled() and gc.get_freeze_count() > 100_000
"""
FIRST_STEP = """
import json, os, sys, recbole_mm_command
import recbole_mm.startup
from recbole_mm.trainer.trainer import MultimodalTrainer

def first_step(trainer, *arguments):
    step(trainer, *arguments)
    print(json.dumps([*sys.modules]), flush=True)
    os._exit(0)

step, MultimodalTrainer._train_batch = MultimodalTrainer._train_batch, first_step
recbole_mm_command.run_command("run", {options!r}, "x")
"""


def modules(code: str) -> set[str]:
    """Of a process that has run some code, all that it has imported."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", f"{code}\nprint(json.dumps([*sys.modules]))"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("code", [IMPORT, COMMAND])
def test_nothing_heavy_is_imported_at_the_start(code):
    found = modules(code)
    assert "torch" in found and "recbole.trainer" in found
    assert not set(HEAVY) & found


def test_nothing_heavy_is_imported_before_the_first_step(tmp_path):
    write_planted(tmp_path, {"visual": 6, "textual": 4})
    keys = {**QUIET, **PRE_SPLIT, "data_path": str(tmp_path), "epochs": 1, "embedding_size": 8}
    options = ["--model=POWERec", "--dataset=toy", *(f"--{key}={value}" for key, value in keys.items())]
    found = modules(FIRST_STEP.format(options=options))
    assert not set(HEAVY) - set(OF_A_RUN) & found


@pytest.mark.slow
@pytest.mark.parametrize("model", ["BPR", "LightGCN"])
def test_a_run_of_recboles_own_compiles_nothing(tmp_path, model):
    write_planted(tmp_path, {"visual": 6})
    keys = {**QUIET, **PRE_SPLIT, "data_path": str(tmp_path), "checkpoint_dir": str(tmp_path), "epochs": 1}
    options = [f"--model={model}", "--dataset=toy", *(f"--{key}={value}" for key, value in keys.items())]
    found = modules(f"import json, sys, recbole_mm_command\nrecbole_mm_command.run_command('run', {options!r}, 'x')")
    assert "recbole.trainer.trainer" in found and "torch._dynamo" not in found


DEFERRED_WORK = """
import json, sys, warnings
import numpy, scipy.sparse
import recbole_mm
from recbole.evaluator import metrics
from recbole.model.general_recommender import nceplrec, slimelastic
from recbole.quick_start import quick_start
from recbole.utils import utils
from sklearn import metrics as sk_metrics
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import ElasticNet
from sklearn.utils.extmath import randomized_svd
from torch.utils.tensorboard import SummaryWriter
from ray import tune

assert isinstance(slimelastic.ElasticNet(alpha=2.0), ElasticNet)
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    warnings.simplefilter("ignore", category=slimelastic.ConvergenceWarning)
    warnings.warn("not converged", ConvergenceWarning)
    warnings.warn("another", UserWarning)
assert [str(one.message) for one in seen] == ["another"]
curve = [0, 0.5, 1], [0, 0.75, 1]
assert metrics.sk_auc(*curve) == sk_metrics.auc(*curve) == 0.625
assert metrics.mean_squared_error([1], [3]) == 4 and metrics.mean_absolute_error([1], [3]) == 2
matrix = scipy.sparse.eye(4).tocsr()
ours, theirs = (svd(matrix, n_components=2, random_state=0)[1] for svd in (nceplrec.randomized_svd, randomized_svd))
assert numpy.array_equal(ours, theirs)
assert quick_start.tune.report is tune.report
assert isinstance(utils.SummaryWriter("board"), SummaryWriter)
"""


def test_what_comes_later_is_what_it_stands_for():
    assert set(modules(DEFERRED_WORK)) >= {"sklearn", "ray", "tensorboard"}


def test_what_recbole_has_imported_before_stays():
    """And a collector that is off stays off."""
    code = "import gc, json, sys, recbole.quick_start, recbole.evaluator.metrics as m, sklearn.metrics\ngc.disable()"
    found = modules(f"{code}\nimport recbole_mm\nassert m.sk_auc is sklearn.metrics.auc and not gc.isenabled()")
    assert found >= {"ray", "sklearn.metrics"}
