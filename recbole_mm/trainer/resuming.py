"""A Trainer of RecBole's whose killed runs go on to the numbers they would have reached."""

from __future__ import annotations

import secrets
import time
import weakref
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from recbole.config import Config
from recbole.data.dataloader.abstract_dataloader import AbstractDataLoader
from recbole.trainer import Trainer
from recbole.utils import set_color

from recbole_mm.host.datasets import data_set
from recbole_mm.host.evaluations import EpochCallback
from recbole_mm.io.files import atomic_file
from recbole_mm.io.locks import only_holder
from recbole_mm.io.run_files import RunFiles
from recbole_mm.io.tensor_file import pack
from recbole_mm.model.recommender import Recommender
from recbole_mm.run_settings import RunSettings
from recbole_mm.trainer.checkpoint import has_safe_pair, read_safe_pair, read_trusted, write_checkpoint
from recbole_mm.trainer.contents import check_same_contents, content_digests
from recbole_mm.trainer.fingerprints import check_same_features, feature_fingerprints, fingerprint
from recbole_mm.trainer.random_state import random_state
from recbole_mm.trainer.resume import (
    best_weights,
    check_epochs,
    check_same_run,
    check_same_settings,
    complete_best,
    find_resume_point,
    load_other_parameter,
    load_random_state,
    load_training,
)
from recbole_mm.trainer.settings import TrainerSettings
from recbole_mm.trainer.training_state import ResumePoint, TrainingState, write_state


class ResumingTrainer(Trainer):
    """Writes the whole state after every epoch, and goes on from the last one (``resume_from: FILE``).

    ``last_state_minutes: N`` writes it at most every N minutes, beside that of each best epoch. A subclass has a
    `scheduler` of the learning rate, or None.
    """

    resumes_exactly = True

    def __init__(self, config: Config, model: Recommender):
        self.settings = TrainerSettings.of(config)
        self._trusts_pickle = RunSettings.of(config).trust_pickle
        super().__init__(config, model)
        self._train_data: AbstractDataLoader | None = None
        self.latest_valid_result: dict[str, float] | None = None
        self._data_fingerprint: str | None = None
        self._feature_fingerprints: dict[str, str] | None = None
        self._content_digests: dict[str, str] = {}
        self._resume_point: ResumePoint | None = None
        self._has_resumed = False
        self._saves = False
        self._saved_epoch = -1
        self._saved_at = -float("inf")
        self._write_id: str | None = None
        self._check_can_be_saved()

    def _check_can_be_saved(self) -> None:
        state = {**self.model.state_dict(), **self.model.other_parameter()}
        pack(state, type(self.model).__name__, {})

    def fit(
        self,
        train_data: AbstractDataLoader,
        valid_data: AbstractDataLoader | None = None,
        verbose: bool = True,
        saved: bool = True,
        show_progress: bool = False,
        callback_fn: EpochCallback | None = None,
    ) -> tuple[float, dict[str, float] | None]:
        """As RecBole's; starts from the checkpoint ``resume_from`` where the configuration names one."""
        self._train_data = train_data
        self._data_fingerprint = fingerprint(data_set(train_data))
        features = self._feature_fingerprints = feature_fingerprints(self.model, data_set(train_data))
        self._content_digests = content_digests([(self.config, {})])
        _give_generator(train_data, self.config["seed"])
        if self.settings.resume_from and not self._has_resumed:
            self.resume_checkpoint(self.settings.resume_from)
        if self._resume_point is not None:
            self._go_on(self._resume_point, train_data, features)
            self._resume_point = None
        elif saved:
            self._remove_earlier_states()
        self._saves, self._saved_epoch = saved, self.start_epoch - 1
        with self._only_writer() if saved and self._is_first_process() else nullcontext():
            result = super().fit(train_data, valid_data, verbose, saved, show_progress, callback_fn)
        self._saves = False
        if saved:
            self._end_well()
        return result

    def _only_writer(self) -> AbstractContextManager[None]:
        """Keep other processes from going on with the same run, whose files both would write."""
        file = self.run_file
        return only_holder(file.with_name(f".{file.stem}.lock"), f"training {file}")

    @property
    def run_file(self) -> Path:
        """The checkpoint that the run leaves."""
        return Path(self.saved_model_file)

    def _load_best(self, file: str) -> None:
        is_trusted = self._trusts_pickle and not has_safe_pair(file)
        saved = read_trusted(file) if is_trusted else read_safe_pair(file)
        self.model.load_state_dict(saved.weights)
        load_other_parameter(self.model, saved.other_parameter, f"checkpoint {file}")
        self.logger.info(f"Loading model structure and parameters from {file}")

    # ---------------------------------------------------------------- saving

    def _is_first_process(self) -> bool:
        return self.config["single_spec"] or self.config["local_rank"] == 0

    def _save_checkpoint(self, epoch: int, verbose: bool = True, **kwargs: Any) -> None:
        if epoch < 0 and self._has_resumed:
            return  # RecBole says -1 where no epoch is left to train; the best one is on disk
        self.best_valid_result = self.latest_valid_result
        self._saved_epoch, self._saved_at = epoch, time.monotonic()
        if not self._is_first_process():
            return
        write_id = secrets.token_hex(16)
        files = RunFiles.of(kwargs.pop("saved_model_file", self.saved_model_file))
        write_checkpoint(files, self.config, self._state(epoch, write_id))
        self._write_id = write_id
        if verbose:
            self.logger.info(set_color("Saving current", "blue") + f": {files.pickle}")

    def save_last_state(self, epoch: int) -> bool:
        """Write the state after an epoch that is not the best one; not sooner than ``last_state_minutes`` allow.

        Returns:
            whether it was time to.
        """
        if time.monotonic() - self._saved_at < 60 * self.settings.last_state_minutes:
            return False
        self._saved_epoch, self._saved_at = epoch, time.monotonic()
        if self._is_first_process():
            with atomic_file(RunFiles.of(self.saved_model_file).last) as temporary:
                write_state(temporary, self._state(epoch, self._write_id))
        return True

    def _end_well(self) -> None:
        """A run that has ended has no later epoch to go on from than its best one."""
        self._delete_at_the_end([RunFiles.of(self.saved_model_file).last])

    def _delete_at_the_end(self, states: list[Path]) -> None:
        """Delete these files with this trainer, or with its process: until then it may be killed in its test."""
        weakref.finalize(self, _delete, states if self._is_first_process() else [])

    def _remove_earlier_states(self) -> None:
        """Those of a run that had this run's name."""
        files = RunFiles.of(self.saved_model_file)
        if self._is_first_process():
            _delete([files.last, files.resume])

    def _state(self, epoch: int, write_id: str | None) -> TrainingState:
        result = self.best_valid_result
        return TrainingState(
            model=self.config["model"],
            dataset=self.config["dataset"],
            write_id=write_id,
            epoch=epoch,
            learner=self.learner,
            cur_step=self.cur_step,
            best_valid_score=float(self.best_valid_score),
            best_valid_result=result and {name: float(value) for name, value in result.items()},
            state_dict=dict(self.model.state_dict()),
            other_parameter=self.model.other_parameter(),
            optimizer=self.optimizer.state_dict(),
            scheduler=None if self.scheduler is None else self.scheduler.state_dict(),
            fingerprint=self._data_fingerprint,
            features=self._feature_fingerprints,
            contents=list(self._content_digests.values()),
            random_state={
                "global": random_state(),
                "loader": None if self._train_data is None else self._train_data.generator.get_state(),
            },
        )

    # ---------------------------------------------------------------- resuming

    def resume_checkpoint(self, resume_file: str | Path) -> None:
        """Go on from the last epoch of the run that `resume_file`, any of its files, belongs to.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is damaged, or of another model or optimizer, or further on than this run is to go, or
                its weights do not fit this data set, or it is a `.pth` without a safe state and ``trust_pickle`` is not
                set.
        """
        point = find_resume_point(resume_file, self._trusts_pickle)
        check_same_run(point.state, self.config["model"], self.learner, resume_file)
        self._take_on(point)

    def _take_on(self, point: ResumePoint) -> None:
        """Set everything as it was at a point, but the random states: what is built until training draws from them."""
        state = point.state
        check_epochs(state, self.epochs, point.files.pickle)
        load_training(self, state, f"checkpoint {point.files.pickle}")
        self.saved_model_file = str(point.files.pickle)
        self.start_epoch = state.epoch + 1
        self.cur_step = state.cur_step
        self.best_valid_score = state.best_valid_score
        self.best_valid_result = self.latest_valid_result = state.best_valid_result
        self._write_id = state.write_id
        self._resume_point = point
        self._has_resumed = True
        self.logger.info(f"Checkpoint loaded. Resume training from epoch {self.start_epoch}")

    def _go_on(self, point: ResumePoint, train_data: AbstractDataLoader, features: dict[str, str]) -> None:
        checkpoint = f"checkpoint {point.files.pickle}"
        if point.state.fingerprint not in (None, self._data_fingerprint):
            raise ValueError(
                f"{checkpoint} was trained on other users, items or training interactions than "
                f"those of '{self.config['dataset']}' in {self.config['data_path']}; resume it on its own data set"
            )
        check_same_features(checkpoint, point.state.features, features)
        check_same_contents(checkpoint, point.state.contents, self._content_digests)
        check_same_settings(point.files, self.config, point.files.pickle)
        best_weights(point)  # notices now, and not after the last epoch, that they are not there
        if self._is_first_process():
            complete_best(point, self.config)
        load_random_state(point.state, train_data.generator, checkpoint)


def _delete(files: Iterable[Path]) -> None:
    for file in files:
        file.unlink(missing_ok=True)


def _give_generator(train_data: AbstractDataLoader, seed: int) -> None:
    """RecBole's `save_dataloaders` leaves its loaders without one, so that they would shuffle unlike those it saved."""
    if train_data.generator is None:
        train_data.generator = train_data.sampler.generator = torch.Generator().manual_seed(seed)
