"""Choosing a row's settings: the same number of settings for every row, by validation data alone."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recbole_mm.experiment.choose import ranges_of, settings_to_try
from recbole_mm.experiment.identity import digest
from recbole_mm.experiment.jobs import results_of
from recbole_mm.experiment.plan import SearchPlan
from recbole_mm.experiment.record import FAILED, FINISHED, STOPPED, Tried
from recbole_mm.experiment.rows import Row
from recbole_mm.experiment.run import Job
from recbole_mm.experiment.trial import Outcome, Trial, run_trial
from recbole_mm.experiment.watch import how_far


@dataclass(frozen=True)
class RowSearch:
    """What is tried of a row.

    Attributes:
        row: with a grid, or whose model has a ``.hyper`` file.
        settings: to try.
        rungs: evaluations after which the weaker settings are left, the first of a series that `reduction` multiplies;
            None: every setting is trained to its end.
        reduction: one of this many settings goes on at each rung.
        seed: of all trials.
        metric: of validation data, by which they are compared.
        bigger: whether a bigger value of it is better.
    """

    row: Row
    settings: list[dict[str, Any]]
    rungs: int | None
    reduction: int
    seed: int
    metric: str
    bigger: bool

    @classmethod
    def of(cls, row: Row, plan: SearchPlan, seed: int) -> RowSearch:
        """What a plan asks for."""
        config = row.config()
        grace = config["asha_grace"] if plan.method == "asha" else 0
        settings = settings_to_try(ranges_of(row, plan), plan.budget, seed)
        measured = config["valid_metric"], config["valid_metric_bigger"]
        return cls(row, settings, grace or None, config["asha_reduction"], seed, *measured)

    @property
    def identity(self) -> str:
        """Hash of everything that the choice depends on, but for data."""
        return digest([self.row.identity, self.settings, self.rungs, self.reduction, self.seed])

    def difference(self, trials: Sequence[Tried]) -> str:
        """What of the trials of a store is not this search's; empty where all is."""
        if len(trials) != len(self.settings):
            return f"it has {len(trials)} settings, and {len(self.settings)} are searched"
        for number, trial in enumerate(trials):
            for name, value in self.facts(number).items():
                if digest(getattr(trial, name)) != digest(value):
                    return f"{number}.{name} is {getattr(trial, name)!r}, and {value!r} is searched"
        chosen = next(trial for trial in trials if trial.chosen)
        sign = 1 if self.bigger else -1
        if any(sign * trial.value > sign * chosen.value for trial in trials if trial.status == FINISHED):
            return f"{chosen.trial}.chosen: another is better"
        return ""

    def facts(self, number: int) -> dict[str, Any]:
        """What the trial of a setting says beside what came of it."""
        setting = {"trial": number, "settings": self.settings[number], "metric": self.metric}
        return {"dataset": self.row.dataset, "row": self.row.identity, **setting}


def tried(
    searches: Sequence[tuple[RowSearch, Path]], jobs: int, tell: Callable[[str], None]
) -> Iterator[tuple[RowSearch, list[Tried]]]:
    """Search for rows side by side; a killed search goes on. Gives the rows of ``trials.parquet`` as each search ends.

    A search goes on to its next rung before another one begins, which takes the processes that it leaves idle.

    Args:
        searches: each for one row, with the folder of its trials.
        jobs: trials at a time.
        tell: what shows progress.

    Raises ValueError where no setting of a row reached a validation score.
    """
    halvings = {search.identity: _Halving(search, folder) for search, folder in searches}
    work = deque(trial for halving in halvings.values() for trial in halving.rung())
    for trial, outcome in results_of(run_trial, work, jobs, _died, lambda trial: how_far(trial, trial.job.folder)):
        halving = halvings[trial.search]
        tell(f"{trial}: {_failure(halving.search.settings[trial.number], outcome)}")
        work.extendleft(reversed(halving.take(trial.number, outcome)))
        if not halving.running:
            yield halving.search, halving.table()


def _died(trial: Trial, error: str) -> Outcome:
    return Outcome(FAILED, error=error)


class _Halving:
    """A search as it goes on from rung to rung.

    Settings are compared at a rung when all that reach it are there, so that how fast each was, or whether something
    was killed meanwhile, changes nothing; ASHA itself decides by who comes first.

    Attributes:
        running: settings whose trials at this rung, or to their end, are not all there yet; none when it has ended.
    """

    def __init__(self, search: RowSearch, folder: Path):
        self.search, self._folder = search, folder
        self.running = list(range(len(search.settings)))
        self._outcomes: dict[int, Outcome] = {}
        self._limit, self._missing = search.rungs, set(self.running)

    def rung(self) -> list[Trial]:
        """The trials of this rung."""
        return [self._trial(number) for number in self.running]

    def take(self, number: int, outcome: Outcome) -> list[Trial]:
        """Keep what a setting reached; gives the trials of the next rung where it was the last that was missing."""
        self._outcomes[number] = outcome
        self._missing.discard(number)
        if self._missing:
            return []
        ahead = _best_first(self.search, self._outcomes, self.running)
        ahead = ahead[: max(1, len(self.running) // self.search.reduction)]
        self.running = sorted(number for number in ahead if self._outcomes[number].status == STOPPED)
        self._missing = set(self.running)
        self._limit = None if self._limit is None else self._limit * self.search.reduction
        return self.rung()

    def table(self) -> list[Tried]:
        """A row of ``trials.parquet`` for each setting; raises ValueError where none has a score."""
        return _table(self.search, self._outcomes)

    def _trial(self, number: int) -> Trial:
        search = self.search
        row = search.row.chosen(search.settings[number])
        job = Job(row, search.seed, self._folder / f"setting-{number + 1}")
        return Trial(search.identity, number, job, self._limit)


def _failure(setting: dict[str, Any], outcome: Outcome) -> str:
    result = outcome.error or f"{outcome.value:.4f} after {outcome.evaluations} evaluations"
    return f"{', '.join(f'{key}={value}' for key, value in setting.items())}: {result}"


def _best_first(search: RowSearch, outcomes: dict[int, Outcome], numbers: Iterable[int]) -> list[int]:
    """Of equal settings the first is the better one; those without a score come last."""
    sign = -1 if search.bigger else 1

    def rank(number: int) -> float:
        return sign * outcomes[number].value if math.isfinite(outcomes[number].value) else math.inf

    return sorted(numbers, key=rank)


def _table(search: RowSearch, outcomes: dict[int, Outcome]) -> list[Tried]:
    ends = [number for number, outcome in outcomes.items() if math.isfinite(outcome.value) and not outcome.stages_left]
    if not ends:
        errors = [_failure(search.settings[number], outcome) for number, outcome in outcomes.items() if outcome.error]
        raise ValueError(
            f"{search.row.place}: no setting reached a validation score; first error: {(errors or ['none'])[0]}"
        )
    best = _best_first(search, outcomes, sorted(ends))[0]
    return [
        Tried(
            **search.facts(number), label=search.row.label, value=outcome.value, evaluations=outcome.evaluations,
            status=outcome.status, error=outcome.error, chosen=number == best,
        )
        for number, outcome in sorted(outcomes.items())
    ]  # fmt: skip
