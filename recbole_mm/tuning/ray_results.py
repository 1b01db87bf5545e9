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
        "params": plain({parameter.name: values.get(parameter.name) for parameter in search.ranges}),
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
    ended = [
        trial for trial in trials if trial["status"] != "failed" and trial["checkpoint"] and not trial["stages_left"]
    ]
    usable = [trial for trial in ended if search.better(trial[SCORE], None)]
    if not usable:
        errors = [f"{trial['params']}: {trial['error']}" for trial in trials if trial["error"]]
        raise ValueError(f"no trial ended with a validation score; first error: {errors[0] if errors else 'none'}")
    best = usable[0]
    for trial in usable[1:]:
        best = trial if search.better(trial[SCORE], best[SCORE]) else best
    return best


def write_results(file: Path, search: Search, trials: list[dict[str, Any]]) -> None:
    metrics = list(next((trial["best_valid_result"] for trial in trials if trial["best_valid_result"]), {}))
    names = [parameter.name for parameter in search.ranges]
    facts = ("trial", "status", "evaluations", "seconds")
    with atomic_file(file) as temporary, open(temporary, "w", newline="", encoding="utf-8") as sink:
        table = csv.writer(sink)
        table.writerow([*facts, *names, SCORE, *metrics, "error"])
        for trial in trials:
            values = [*(trial["params"][name] for name in names), trial[SCORE]]
            values += [trial["best_valid_result"].get(metric) for metric in metrics]
            table.writerow([*(trial[fact] for fact in facts), *values, trial["error"]])
