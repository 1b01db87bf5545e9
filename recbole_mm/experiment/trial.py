"""One setting of a row's search: trained up to a number of evaluations, and on from there, on validation data alone."""

from __future__ import annotations

import json
import math
import sys
import traceback
from dataclasses import asdict, dataclass

from pydantic import TypeAdapter

from recbole_mm.experiment.record import FAILED, FINISHED, STOPPED, Count, Status
from recbole_mm.experiment.run import Job, best_epoch, prepare
from recbole_mm.experiment.store_files import read_as
from recbole_mm.experiment.watch import EPOCHS, Watch
from recbole_mm.host.evaluations import evaluation_callback
from recbole_mm.io.files import atomic_file
from recbole_mm.io.reading import has_file
from recbole_mm.trainer.trainer import MultimodalTrainer


@dataclass(frozen=True)
class Trial:
    """A setting to try.

    Attributes:
        search: its identity.
        number: of the setting in its search.
        job: its row with that setting, the seed of the search, and the folder of the trial's files.
        limit: evaluations after which the training pauses; none: it goes on to its end.
    """

    search: str
    number: int
    job: Job
    limit: int | None = None

    def __str__(self) -> str:
        return f"{self.job}, setting {self.number + 1}"


@dataclass(frozen=True)
class Outcome:
    """What became of a setting so far.

    Attributes:
        status: ``finished``; ``stopped early``, at the trial's limit; ``failed``.
        value: best of the validation metric that chooses, NaN where there is none.
        evaluations: that were made.
        stages_left: of a staged training, behind the one that it is in.
        error: of a trial that failed.
    """

    status: Status
    value: float = math.nan
    evaluations: Count = 0
    stages_left: Count = 0
    error: str = ""


_OUTCOME = TypeAdapter(Outcome)


class _LimitReached(Exception):
    """Ends a training whose state is on disk, from which the next round goes on."""


def run_trial(trial: Trial) -> Outcome:
    """Train a setting up to its limit, or to its end; one that was paused or killed goes on where it was.

    What it was at an earlier limit stays on disk, as a search that was killed passes its rungs again.
    """
    sys.argv[1:] = []  # a worker's own, which RecBole's Config would read
    file = trial.job.folder / f"outcome-{trial.limit or 'whole'}.json"
    try:
        if has_file(file):
            return read_as(file, _OUTCOME)
        outcome = _train(trial)
    except Exception as error:
        traceback.print_exc()
        return Outcome(FAILED, error=f"{type(error).__name__}: {error}")
    with atomic_file(file) as temporary:
        temporary.write_text(json.dumps(asdict(outcome)), encoding="utf-8")
    return outcome


def _train(trial: Trial) -> Outcome:
    trial.job.folder.mkdir(parents=True, exist_ok=True)
    trainer, train_data, valid_data, _ = prepare(trial.job)
    watch = Watch(trainer, trial.job.folder / EPOCHS)

    def pause(epoch: int, score: float, result: dict[str, float], is_best: bool) -> None:
        if _evaluations(watch) == trial.limit:
            if not is_best and isinstance(trainer, MultimodalTrainer):
                trainer.save_last_state(epoch)
            raise _LimitReached

    status: Status = STOPPED
    if _evaluations(watch) != trial.limit:  # or it was killed between its last evaluation and its outcome
        try:
            trainer.fit(train_data, valid_data, verbose=False, callback_fn=evaluation_callback(trainer, pause))
            status = FINISHED
        except _LimitReached:
            pass
    best = best_epoch(watch.epochs).valid.get(trainer.config["valid_metric"].lower(), math.nan)
    return Outcome(status, best, _evaluations(watch), getattr(trainer, "stages_left", 0))


def _evaluations(watch: Watch) -> int:
    return sum(bool(epoch.valid) for epoch in watch.epochs)
