"""What became of the trials of a search on Ray, and which is the best."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from ray import tune

from recbole_mm.io.files import atomic_file
from recbole_mm.tuning.hyperopt_search import plain
from recbole_mm.tuning.ray_space import SCORE
from recbole_mm.tuning.ray_trial import TIME
from recbole_mm.tuning.search import Search


def row_of(search: Search, result: tune.Result) -> dict[str, Any]:
    """One line of the results: status, parameters and the best validation metrics."""
    metrics = result.metrics or {}
    values = result.config or {}  # none where its process died whenever it began
    error = metrics.get("error") or (None if result.error is None else str(result.error).strip().splitlines()[-1])
    status = "failed" if error else "finished" if metrics.get("finished") else "stopped early"
    return {
        "trial": metrics.get("trial_id"),
        "status": status,
        "params": plain({one.name: values.get(one.name) for one in search.ranges}),
        SCORE: metrics.get(SCORE),
        "best_valid_result": metrics.get("best_valid_result") or {},
        "evaluations": metrics.get(TIME),
        "stages_left": metrics.get("stages_left", 0),
        "seconds": metrics.get("time_total_s"),
        "error": error,
        "checkpoint": None if result.checkpoint is None else result.checkpoint.path,
    }


def choose(search: Search, trials: list[dict[str, Any]]) -> dict[str, Any]:
    """The trial with the best validation score, among those that reached their last stage."""
    ended = [one for one in trials if one["status"] != "failed" and one["checkpoint"] and not one["stages_left"]]
    usable = [one for one in ended if search.better(one[SCORE], None)]
    if not usable:
        errors = [f"{one['params']}: {one['error']}" for one in trials if one["error"]]
        raise ValueError(f"no trial ended with a validation score; first error: {errors[0] if errors else 'none'}")
    best = usable[0]
    for one in usable[1:]:
        best = one if search.better(one[SCORE], best[SCORE]) else best
    return best


def write_results(file: Path, search: Search, trials: list[dict[str, Any]]) -> None:
    metrics = list(next((one["best_valid_result"] for one in trials if one["best_valid_result"]), {}))
    names = [one.name for one in search.ranges]
    facts = ("trial", "status", "evaluations", "seconds")
    with atomic_file(file) as temporary, open(temporary, "w", newline="", encoding="utf-8") as sink:
        table = csv.writer(sink)
        table.writerow([*facts, *names, SCORE, *metrics, "error"])
        for one in trials:
            values = [*(one["params"][name] for name in names), one[SCORE]]
            values += [one["best_valid_result"].get(metric) for metric in metrics]
            table.writerow([*(one[fact] for fact in facts), *values, one["error"]])
