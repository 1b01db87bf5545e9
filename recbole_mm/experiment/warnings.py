"""What a row's own runs say against it: a model that collapsed, did not train, or was not let train."""

from __future__ import annotations

import pandas as pd

from recbole_mm.experiment.record import FAILED
from recbole_mm.experiment.results import DatasetResults

SIMPLE = ("Pop", "EASE", "ContentKNN", "ContentEASE")  # what a model with content should beat
_MOST_TOP_SHARE = 0.5
_ABOVE_ALL = 0.95  # share of the loss, in size


def warnings_of(results: DatasetResults, label: str) -> list[str]:
    """Warnings about one row.

    Args:
        results: of the row's data set.
        label: of the row.
    """
    found, runs, tables = [], results.rows[label], results.tables
    n_runs = len(runs)
    first = (runs["best_epoch"] <= 1) & (runs["ended"] != "solved")
    for says, holds in (("best epoch 1", first), ("ended at its cap", runs["ended"] == "cap")):
        if holds.any():
            found.append(f"{says} ({int(holds.sum())} of {n_runs})")
    most = results.beyond[label]["top share"].max()
    if len(tables.data(runs.iloc[0], "items")) > 200 and most > _MOST_TOP_SHARE:
        found.append(f"{most:.0%} of its places go to the 100 most popular items")
    found += _failed_settings(results, label)
    found += _below_simple(results, runs)
    part = _dominant_part(tables.curves[tables.curves["run"].isin(runs["run"])])
    return [*found, *([f"one part of the loss, {part}, is above all others"] if part else [])]


def _failed_settings(results: DatasetResults, label: str) -> list[str]:
    """A row of which fewer settings were compared than of others."""
    trials = results.tables.trials_of(results.dataset, label)
    n_failed = int((trials["status"] == FAILED).sum())
    return [f"{n_failed} of the {len(trials)} settings tried failed"] if n_failed else []


def _below_simple(results: DatasetResults, runs: pd.DataFrame) -> list[str]:
    rows, column = results.tables.rows(results.dataset), f"test_{results.metric}"
    own = runs[column].mean()
    return [
        f"below {model}"
        for model in SIMPLE
        if model != runs["model"].iloc[0]
        and (rows["model"] == model).any()
        and own < rows.loc[rows["model"] == model, column].mean()
    ]


def _dominant_part(curves: pd.DataFrame) -> str | None:
    parts = curves[curves["name"].str.startswith("loss_")] if len(curves) else curves
    if not len(parts):
        return None
    sizes = parts.groupby("name")["value"].apply(lambda values: values.abs().mean())
    largest = sizes.idxmax()
    return largest if len(sizes) > 1 and sizes[largest] > _ABOVE_ALL * sizes.sum() else None
