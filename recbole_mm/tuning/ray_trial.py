"""One trial of a Ray search: what runs in the worker processes."""

from __future__ import annotations

import json
import math
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

import ray
from ray import tune
from recbole.config import Config
from recbole.trainer import Trainer
from recbole.utils import init_logger

from recbole_mm.host.evaluations import evaluation_callback
from recbole_mm.io.run_files import RunFiles
from recbole_mm.quick_start import prepare_training
from recbole_mm.trainer.trainer import MultimodalTrainer
from recbole_mm.tuning.ray_space import SCORE
from recbole_mm.tuning.shared_data import SharedData

MODEL_FILE = "model.pth"
_COUNT_FILE = "evaluations.json"
# What every report holds beside the validation metrics.
TIME = "evaluation"


def run_trial(params: dict[str, Any], settings: dict[str, Any], shared: SharedData | None) -> None:
    """Train one setting and report its validation metrics to Ray at every evaluation.

    An error is reported too, instead of raised, so that Ray tries again where a process or node died, and only there.

    Args:
        params: values of the searched parameters.
        settings: of the whole search, its paths absolute.
        shared: the data set; None where the trial loads its own.
    """
    sys.argv[1:] = []  # a worker's own, which RecBole's Config would read
    try:
        _train({**settings, **params}, shared)
    except Exception as error:
        traceback.print_exc()
        tune.report({SCORE: math.nan, TIME: 0, "error": f"{type(error).__name__}: {error}"})


def _train(settings: dict[str, Any], shared: SharedData | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        count = _restore(Path(folder), settings)
        settings |= {"checkpoint_dir": folder, "gpu_id": ",".join(map(str, ray.get_gpu_ids()))}
        config = Config(config_dict=settings)
        init_logger(config)
        dataset = None if shared is None else shared.dataset(config)
        trainer, train_data, valid_data, _ = prepare_training(config, dataset)
        trainer.saved_model_file = str(Path(folder) / MODEL_FILE)
        report = _Report(trainer, Path(folder), count)
        callback = evaluation_callback(trainer, report.on_evaluation)
        trainer.fit(train_data, valid_data, verbose=False, callback_fn=callback)
        tune.report({**report.summary(), "finished": True})


def _restore(folder: Path, settings: dict[str, Any]) -> int:
    """Fetch the checkpoint of an interrupted trial, if any; gives the number of evaluations before it."""
    checkpoint = tune.get_checkpoint()
    if checkpoint is None:
        return 0
    checkpoint.to_directory(folder)
    state = RunFiles(folder / MODEL_FILE).state()
    saved = json.loads((folder / _COUNT_FILE).read_text(encoding="utf-8"))
    if state is None:  # RecBole's own trainers start again
        return 0
    settings["resume_from"] = str(state)
    return saved["evaluations"]


class _Report:
    """Sends the validation metrics, and the state that an interrupted trial goes on from, after each evaluation."""

    def __init__(self, trainer: Trainer, folder: Path, count: int):
        self._trainer, self._folder, self._count = trainer, folder, count
        self._best: dict[str, float] = {}
        self._latest: dict[str, float] = {}

    def on_evaluation(self, epoch: int, score: float, result: dict[str, float], is_best: bool) -> None:
        trainer = self._trainer
        self._count += 1
        self._latest = result
        if is_best:
            self._best = result
        is_saved = is_best or (isinstance(trainer, MultimodalTrainer) and trainer.save_last_state(epoch))
        tune.report({**self.summary(), "epoch": epoch}, checkpoint=self._checkpoint() if is_saved else None)

    def summary(self) -> dict[str, Any]:
        """Where the trial stands; also of one that was resumed after its last epoch, and has trained none since."""
        return {
            **self._latest,
            "best_valid_result": self._best or self._resumed_best(),
            SCORE: float(self._trainer.best_valid_score),
            TIME: self._count,
            "stages_left": getattr(self._trainer, "stages_left", 0),
        }

    def _resumed_best(self) -> dict[str, float]:
        return {metric: float(value) for metric, value in (self._trainer.best_valid_result or {}).items()}

    def _checkpoint(self) -> tune.Checkpoint:
        (self._folder / _COUNT_FILE).write_text(json.dumps({"evaluations": self._count}), encoding="utf-8")
        checkpoint = tune.Checkpoint.from_directory(str(self._folder))
        return checkpoint  # type: ignore[return-value]  # which Ray says of the class that this one derives from
