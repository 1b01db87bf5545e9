"""The search on this machine: RecBole's own HyperTuning with our objective."""

from __future__ import annotations

import math
import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from recbole.trainer import HyperTuning
from recbole.trainer.hyper_tuning import exhaustive_search

from recbole_mm.io.errors import printable
from recbole_mm.io.files import atomic_file
from recbole_mm.io.run_files import RunFiles
from recbole_mm.quick_start import objective_function
from recbole_mm.search_space import number_of_settings, recbole_form
from recbole_mm.tuning.description import describe
from recbole_mm.tuning.search import Search, Winner, winner_test_metrics
from recbole_mm.tuning.trial_list import Trial, TrialList

SEED_VARIABLE = "HYPEROPT_FMIN_SEED"
ALGORITHMS = ("exhaustive", "random", "bayes")


def search_with_hyperopt(
    search: Search,
    output_file: Path,
    algo: str = "exhaustive",
    max_evals: int = 100,
    early_stop: int = 10,
    display_file: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> Winner:
    """Try settings one after the other, choose by validation, test the winner, write RecBole's result file.

    Args:
        search: what to search.
        output_file: RecBole's result file; of the winner alone it has test metrics, of a trial that failed the reason.
        algo: ``exhaustive`` tries every setting, ``random`` and ``bayes`` at most `max_evals`.
        max_evals: most trials of a random or bayes search.
        early_stop: such a search ends after as many trials without a better one, once one has not failed.
        display_file: RecBole's plot of the search, an HTML file.
        resume: go on with the search into `output_file` that did not end.
        overwrite: begin anew where there is one, and delete its checkpoints.

    A trial that ends in an error, or with a score that is not finite, is printed with the reason; the search goes on.

    Raises ValueError where `algo` is exhaustive and a range is not a list of choices, no trial has a finite score, or
    what an earlier search left is not what `resume` and `overwrite` say.
    """
    kept = _kept_trials(search, output_file, algo, max_evals, early_stop)
    trials = _Trials(search, kept)
    tuning = _tuning(trials, search, algo, max_evals, early_stop, display_file)
    kept.open(search.better, resume, overwrite)
    try:
        with _seed(search.config["seed"]):
            tuning.run()
        winner = trials.tested_winner()
    finally:
        with atomic_file(output_file) as temporary:
            tuning.export_result(temporary)
    kept.delete()
    return winner


def _tuning(
    trials: _Trials, search: Search, algo: str, max_evals: int, early_stop: int, display_file: str | None
) -> _Tuning:
    limits = {"algo": algo, "max_evals": max_evals, "early_stop": early_stop}
    if algo == "exhaustive":
        limits = _all_settings(number_of_settings(search.ranges))
    tuning = _Tuning(trials, params_dict=recbole_form(search.ranges), display_file=display_file, **limits)
    tuning.early_stop_fn = _after_a_success(tuning.early_stop_fn)
    return tuning


def trials_file(output_file: Path) -> Path:
    """Where the finished trials of a search stand until it has ended."""
    return output_file.with_suffix(".trials.json")


def _kept_trials(search: Search, output_file: Path, algo: str, max_evals: int, early_stop: int) -> TrialList:
    seed = os.environ.get(SEED_VARIABLE, str(search.config["seed"]))
    description = {**describe(search, algo, max_evals), "early_stop": early_stop, "hyperopt_seed": seed}
    return TrialList(trials_file(output_file), Path(search.config["checkpoint_dir"]), description)


@contextmanager
def _seed(seed: int) -> Iterator[None]:
    """What hyperopt draws from, which HyperTuning does not hand on; a user's own variable stays above it."""
    is_set = SEED_VARIABLE in os.environ
    os.environ.setdefault(SEED_VARIABLE, str(seed))
    try:
        yield
    finally:
        if not is_set:
            del os.environ[SEED_VARIABLE]


def _all_settings(number: int) -> dict[str, Any]:
    """Limits of RecBole's search under which it misses none of the settings.

    It draws settings until one is new and gives up after some failures: 1000 by itself, at which large grids end
    early. Missing one of n settings n * 20 times running has the probability exp(-20).
    """
    algo = partial(exhaustive_search, nbMaxSucessiveFailures=max(1000, 20 * number))
    return {"algo": algo, "max_evals": number, "early_stop": number + 1}


class _Tuning(HyperTuning):
    """RecBole's, which calls a first trial the best so far though it failed."""

    @staticmethod
    def _print_result(result_dict: dict[str, Any]) -> None:
        if math.isfinite(result_dict["best_valid_score"]):
            HyperTuning._print_result(result_dict)


def _after_a_success(stop: Callable[..., Any]) -> Callable[..., Any]:
    """hyperopt's early stop, which takes nothing for better than a first loss that is infinite."""

    def stop_after_a_success(trials: Any, best_loss: float | None = None, without_progress: int = 0) -> Any:
        if best_loss == math.inf:
            best_loss, without_progress = None, 0
        return stop(trials, best_loss, without_progress)

    return stop_after_a_success


class _Trials:
    """The objective: trains one setting, keeps the checkpoint of the best so far and deletes the others.

    Args:
        search: what is searched.
        kept: its finished trials on disk, told instead of trained where the search goes on.

    Attributes:
        best: the best trial so far; None before there is one.
        best_result: what RecBole has of it.
        first_error: parameters and reason of the first trial that failed.
    """

    def __init__(self, search: Search, kept: TrialList):
        self._search, self._kept = search, kept
        self.best: Trial | None = None
        self.best_result: dict[str, Any] = {}
        self.first_error = "none"

    def __call__(self, params: dict[str, Any], _config_files: object = None) -> dict[str, Any]:
        values = plain(params)
        known = self._kept.known(values)
        trial = known or self._train(values)
        result = self._for_recbole(trial)
        worse: Trial | None = trial
        best_score = None if self.best is None else self.best.score
        if trial.score is not None and self._search.better(trial.score, best_score):
            worse, self.best, self.best_result = self.best, trial, result
        if known is None:
            self._kept.ends(trial)
            if worse is not None and worse.checkpoint is not None:
                self._kept.files(worse.checkpoint).delete()
        return result

    def tested_winner(self) -> Winner:
        """The best trial, its test metrics measured now; raises ValueError where none had a finite score."""
        best = self.best
        if best is None:
            self._kept.delete()
            raise ValueError(
                f"no trial of {self._search.model} reached a finite {self._search.config['valid_metric']}; first "
                f"error: {self.first_error}"
            )
        settings = {**self._search.settings, **best.params}
        checkpoint = Path(self.best_result["checkpoint"])
        self.best_result["test_result"] = test = winner_test_metrics(settings, checkpoint)
        return Winner(settings, self.best_result["best_valid_score"], best.valid_result, test, checkpoint)

    def _train(self, values: dict[str, Any]) -> Trial:
        settings = {**self._search.settings, **values}
        state = self._kept.state_of(values)
        if state is not None:
            settings["resume_from"] = str(state)
        begins = None if state is not None else partial(self._kept.trains, values)
        try:
            result = objective_function(settings, begins=begins)
        except Exception as error:
            if not isinstance(error, (ValueError, OSError)):  # whose message is not written to be read alone
                traceback.print_exc()
            return Trial(params=values, failed=printable(f"{type(error).__name__}: {error}"))
        score, checkpoint = float(result["best_valid_score"]), Path(result["checkpoint"])
        if not math.isfinite(score):
            RunFiles.of(checkpoint).delete()
            return Trial(params=values, failed=f"its {self._search.config['valid_metric']} is {score}")
        return Trial(params=values, score=score, valid_result=result["best_valid_result"], checkpoint=checkpoint.name)

    def _for_recbole(self, trial: Trial) -> dict[str, Any]:
        """What RecBole's search and file have of a trial; one that failed is printed, with the worst score there is."""
        bigger = self._search.config["valid_metric_bigger"]
        result = {"model": self._search.model, "valid_score_bigger": bigger, "test_result": {}}
        if trial.failed is None:
            checkpoint = str(self._kept.files(str(trial.checkpoint)).pickle)
            valid = {"best_valid_score": trial.score, "best_valid_result": trial.valid_result}
            return {**result, **valid, "checkpoint": checkpoint}
        print(f"trial failed: {trial.params}: {trial.failed}", flush=True)
        if self.first_error == "none":
            self.first_error = f"{trial.params}: {trial.failed}"
        worst = -math.inf if bigger else math.inf  # as no NaN
        return {**result, "best_valid_score": worst, "best_valid_result": {"failed": trial.failed}}


def plain(params: dict[str, Any]) -> dict[str, Any]:
    """Values of a trial as a yaml file holds them: hyperopt makes tuples of lists."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in params.items()}
