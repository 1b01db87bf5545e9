"""Training in stages, one after the other in one run: MARGO and PTMRec."""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import numpy as np
from recbole.config import Config
from recbole.data.dataloader.abstract_dataloader import AbstractDataLoader
from recbole.utils import dict2str, set_color
from torch import Tensor

from recbole_mm.host.datasets import data_set
from recbole_mm.host.evaluations import EpochCallback, evaluation_callback
from recbole_mm.host.logs import TensorBoardWriter
from recbole_mm.io.run_files import RunFiles
from recbole_mm.model.backbone_model import BackboneModel
from recbole_mm.trainer.resume import best_weights, find_resume_point
from recbole_mm.trainer.settings import StageSettings, stage_key
from recbole_mm.trainer.stage_one import check_has_stage_one, load_stage_one
from recbole_mm.trainer.trainer import MultimodalTrainer
from recbole_mm.trainer.training_state import ResumePoint, TrainingState

Log = logging.Logger | logging.LoggerAdapter[Any]
STAGE_KEYS = ("epochs", "stopping_step", "learning_rate")


class StagedTrainer(MultimodalTrainer):
    """Trains a model through its stages; each starts from the best checkpoint of the one before.

    The model names its stages in ``model.stages`` (such as ``("one", "two")``), the setting that leaves stage one alone
    in ``model.without_stage_two``, and is told by ``model.enter_stage(name)`` which one begins. Each stage has its own
    optimizer, early stopping and checkpoint: the last stage's is the run's, an earlier one's lies in
    ``<checkpoint>-stages/``. Keys, each falling back on the key without the prefix where it is not set:
    ``stage_<name>_epochs``, ``stage_<name>_stopping_step``, ``stage_<name>_learning_rate``. ``stage_one_checkpoint:
    FILE`` takes the weights of an earlier run's first stage instead of training it. A run interrupted in any stage goes
    on there with ``resume_from``. A model with a static ``stages_for(settings)`` that gives its stages has mistakes in
    ``stage_one_checkpoint`` and ``resume_from`` noticed before its data are loaded.
    """

    logger: Log
    tensorboard: TensorBoardWriter | _StageWriter

    def __init__(self, config: Config, model: BackboneModel):
        if not config["single_spec"]:
            raise ValueError(f"{config['model']} trains in stages, which takes one process; leave --nproc out")
        self._stage_one_file = StageSettings.of(config).stage_one_checkpoint
        if self._stage_one_file:
            check_has_stage_one(self._stage_one_file, model.stages, type(model))
        super().__init__(config, model)
        for stage in model.stages:
            for key in STAGE_KEYS:
                self._setting(stage, key)  # now, and not after hours of an earlier stage
        self.stage = model.stages[0]
        self._final_file: Path | None = None
        self._writer, self._log = self.tensorboard, self.logger
        self._resumed_stage: str | None = None
        self._begun: list[RunFiles] = []  # by an interrupted run, under names that may not be today's

    def fit(
        self,
        train_data: AbstractDataLoader,
        valid_data: AbstractDataLoader | None = None,
        verbose: bool = True,
        saved: bool = True,
        show_progress: bool = False,
        callback_fn: EpochCallback | None = None,
    ) -> tuple[float, dict[str, float] | None]:
        """Train all stages; gives the best validation score and result of the last one."""
        if self.settings.resume_from and not self._has_resumed:
            self.resume_checkpoint(self.settings.resume_from)
        first = self.model.stages.index(self._resumed_stage) if self._resumed_stage else 0
        if first == 0 and self._stage_one_file:
            load_stage_one(self.model, self._stage_one_file, data_set(train_data))
            first = 1
        for position in range(first, len(self.model.stages)):
            stage = self.model.stages[position]
            if stage != self._resumed_stage:
                self._begin(stage)
            self.logger.info(f"at most {self.epochs} epochs")
            if saved:
                Path(self.saved_model_file).parent.mkdir(exist_ok=True)
            best = _BestWeights(self, callback_fn, self._resume_point)
            on_evaluation = evaluation_callback(self, best.on_evaluation)
            result = super().fit(train_data, valid_data, verbose, saved, show_progress, on_evaluation)
            if valid_data and result[1]:
                self.logger.info(f"best validation result: {dict2str(result[1])}")
            if position + 1 < len(self.model.stages):
                self.model.load_state_dict(best.weights)
        self.logger = self._log
        if saved:
            run = RunFiles(self.run_file)
            self._delete_at_the_end([files.last for files in {run, *run.stages(), *self._begun}])
        return result

    def _end_well(self) -> None:
        """Not at the end of a stage: until the next one has a state, a run goes on from that of the one before."""

    def _begin(self, stage: str) -> None:
        """Set everything that belongs to one stage to its start."""
        self.stage = stage
        self.model.enter_stage(stage)
        for key in STAGE_KEYS:
            setattr(self, key, self._setting(stage, key))
        self.eval_step = min(self.config["eval_step"], self.epochs)
        self.optimizer = self._build_optimizer()
        self.scheduler = self._build_scheduler()
        self.start_epoch = self.cur_step = 0
        self.best_valid_score = -np.inf if self.valid_metric_bigger else np.inf
        self.best_valid_result = self.latest_valid_result = self._write_id = None
        self.saved_model_file = str(self._file_of(stage))
        self.tensorboard = _StageWriter(self._writer, stage)
        self.logger = _StageLog(self._log, stage)

    def _setting(self, stage: str, key: str) -> float:
        name = stage_key(self.config, stage, key)
        if self.config[name] < 0:
            raise ValueError(f"{name}: {self.config[name]} must not be negative")
        return self.config[name]

    def _file_of(self, stage: str) -> Path:
        if self._final_file is None:  # not in the constructor: a caller may name the file after it
            self._final_file = Path(self.saved_model_file)
        is_last = stage == self.model.stages[-1]
        return self._final_file if is_last else RunFiles(self._final_file).stage(stage).pickle

    @property
    def run_file(self) -> Path:
        """The checkpoint of the run's last stage."""
        return self._file_of(self.model.stages[-1])

    @property
    def stages_left(self) -> int:
        """How many stages come behind the one that is trained."""
        return len(self.model.stages) - 1 - self.model.stages.index(self.stage)

    def _is_last_stage(self) -> bool:
        return getattr(self, "stage", self.model.stages[0]) == self.model.stages[-1]

    def _progress_label(self, epoch: int) -> str:
        return f"Stage {self.stage} {epoch:>4}"

    def _state(self, epoch: int, write_id: str | None) -> TrainingState:
        return super()._state(epoch, write_id).model_copy(update={"stage": self.stage})

    def _take_on(self, point: ResumePoint) -> None:
        """As :meth:`MultimodalTrainer._take_on`, in the stage that the run was in."""
        stages = self.model.stages
        stage = check_stage(point.state.stage, stages, point.files)
        final = final_files(point.files, stage, stages)
        self._final_file, self._begun = final.pickle, [point.files]
        if stage != stages[-1] and is_in_last_stage(point.files, final):
            point = find_resume_point(self._final_file, trust_pickle=False)
            stage = check_stage(point.state.stage, stages, point.files)
        self._begin(stage)
        super()._take_on(point)
        self._resumed_stage = stage


def check_stage(stage: str | None, stages: tuple[str, ...], files: RunFiles) -> str:
    """The stage of a state; raises ValueError where it is none of a run's."""
    if stage is None or stage not in stages:
        raise ValueError(
            f"resume_from: checkpoint {files.pickle} is of stage {stage}, this run has {' and '.join(stages)}; set "
            "what chooses the stages as it was"
        )
    return stage


def final_files(files: RunFiles, stage: str, stages: tuple[str, ...]) -> RunFiles:
    """Those of the last stage of a run that goes on from `files` of `stage`."""
    return files if stage == stages[-1] else files.after_stage(stage, stages[-1])


def is_in_last_stage(earlier: RunFiles, final: RunFiles) -> bool:
    """Whether a run was interrupted in its last stage, and is not begun again from an earlier one."""
    is_running = earlier.last.exists() or final.last.exists()
    return is_running and (final.resume.exists() or final.last.exists())


class _BestWeights:
    """Keeps the weights of a stage's best evaluation, whether or not they are saved."""

    _weights: dict[str, Tensor]

    def __init__(self, trainer: StagedTrainer, callback_fn: EpochCallback | None, resumed: ResumePoint | None):
        self._trainer, self._callback = trainer, callback_fn
        self._evaluated = trainer.best_valid_result is not None
        self._keep()
        if resumed is not None:
            self._weights = best_weights(resumed) or self._weights

    def on_evaluation(self, epoch: int, score: float, result: dict[str, float], is_best: bool) -> None:
        self._evaluated = True
        if is_best:
            self._keep()
        if self._callback is not None:
            self._callback(epoch, score)

    @property
    def weights(self) -> dict[str, Tensor]:
        """The best weights; where nothing was evaluated, the last."""
        return self._weights if self._evaluated else self._trainer.model.state_dict()

    def _keep(self) -> None:
        self._weights = {name: value.clone() for name, value in self._trainer.model.state_dict().items()}


class _StageLog(logging.LoggerAdapter[Log]):
    """RecBole's log with the stage in front of every message."""

    def __init__(self, log: Log, stage: str):
        super().__init__(log)
        self._stage = stage

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[str, MutableMapping[str, Any]]:
        return set_color(f"Stage {self._stage}", "blue") + f": {msg}", kwargs


class _StageWriter:
    """RecBole's TensorBoard writer with the stage in front of every scalar's tag."""

    def __init__(self, writer: TensorBoardWriter | _StageWriter, stage: str):
        self._writer, self._stage = writer, stage

    def add_scalar(self, tag: str, *values: Any) -> None:
        self._writer.add_scalar(f"stage_{self._stage}/{tag}", *values)

    def add_hparams(self, *arguments: Any) -> None:
        self._writer.add_hparams(*arguments)

    def close(self) -> None:
        self._writer.close()
