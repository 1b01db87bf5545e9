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
from recbole_mm.tuning.search import Search, Winner, winner_test_metrics

SEED_VARIABLE = "HYPEROPT_FMIN_SEED"
ALGORITHMS = ("exhaustive", "random", "bayes")


def search_with_hyperopt(
    search: Search,
    output_file: Path,
    algo: str = "exhaustive",
    max_evals: int = 100,
    early_stop: int = 10,
    display_file: str | None = None,
) -> Winner:
    """Try settings one after the other, choose by validation, test the winner, write RecBole's result file.

    Args:
        search: what to search.
        output_file: RecBole's result file; of the winner alone it has test metrics, of a trial that failed the reason.
        algo: ``exhaustive`` tries every setting, ``random`` and ``bayes`` at most `max_evals`.
        max_evals: most trials of a random or bayes search.
        early_stop: such a search ends after as many trials without a better one, once one has not failed.
        display_file: RecBole's plot of the search, an HTML file.

    A trial that ends in an error, or with a score that is not finite, is printed with the reason; the search goes on.

    Raises ValueError where `algo` is exhaustive and a range is not a list of choices, or no trial has a finite score.
    """
    trials = _Trials(search)
    limits = {"algo": algo, "max_evals": max_evals, "early_stop": early_stop}
    if algo == "exhaustive":
        limits = _all_settings(number_of_settings(search.ranges))
    tuning = _Tuning(trials, params_dict=recbole_form(search.ranges), display_file=display_file, **limits)
    tuning.early_stop_fn = _after_a_success(tuning.early_stop_fn)
    try:
        with _seed(search.config["seed"]):
            tuning.run()
        return trials.tested_winner()
    finally:
        with atomic_file(output_file) as temporary:
            tuning.export_result(temporary)


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

    Attributes:
        best: what :func:`~recbole_mm.quick_start.objective_function` gave of the best so far; None before there is one.
        best_settings: of that trial.
        first_error: parameters and reason of the first trial that failed.
    """

    def __init__(self, search: Search):
        self._search = search
        self.best: dict[str, Any] | None = None
        self.best_settings: dict[str, Any] = {}
        self.first_error = "none"

    def __call__(self, params: dict[str, Any], _config_files: object = None) -> dict[str, Any]:
        settings = {**self._search.settings, **plain(params)}
        try:
            result = objective_function(settings)
        except Exception as error:
            if not isinstance(error, (ValueError, OSError)):  # whose message is not written to be read alone
                traceback.print_exc()
            return self._failed(params, printable(f"{type(error).__name__}: {error}"))
        best_so_far = None if self.best is None else self.best["best_valid_score"]
        if self._search.better(result["best_valid_score"], best_so_far):
            worse, self.best, self.best_settings = self.best, result, settings
        else:
            worse = result
        if worse is not None:
            RunFiles.of(worse["checkpoint"]).delete()
        if not math.isfinite(result["best_valid_score"]):
            return self._failed(params, f"its {self._search.config['valid_metric']} is {result['best_valid_score']}")
        return result

    def tested_winner(self) -> Winner:
        """The best trial, its test metrics measured now; raises ValueError where none had a finite score."""
        if self.best is None:
            raise ValueError(
                f"no trial of {self._search.model} reached a finite {self._search.config['valid_metric']}; first "
                f"error: {self.first_error}"
            )
        best = self.best
        best["test_result"] = winner_test_metrics(self.best_settings, best["checkpoint"])
        return Winner(
            self.best_settings, best["best_valid_score"], best["best_valid_result"], best["test_result"],
            Path(best["checkpoint"]),
        )  # fmt: skip

    def _failed(self, params: dict[str, Any], reason: str) -> dict[str, Any]:
        """Print a trial that failed; gives what RecBole's file has of it, with the worst score there is, as no NaN."""
        print(f"trial failed: {plain(params)}: {reason}", flush=True)
        if self.first_error == "none":
            self.first_error = f"{plain(params)}: {reason}"
        bigger = self._search.config["valid_metric_bigger"]
        return {
            "model": self._search.model,
            "best_valid_score": -math.inf if bigger else math.inf,
            "valid_score_bigger": bigger,
            "best_valid_result": {"failed": reason},
            "test_result": {},
        }


def plain(params: dict[str, Any]) -> dict[str, Any]:
    """Values of a trial as a yaml file holds them: hyperopt makes tuples of lists."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in params.items()}
