"""What a row's own runs say against it: a model that collapsed, did not train, or was not let train."""

from __future__ import annotations

import pandas as pd

from recbole_mm.experiment.record import FAILED
from recbole_mm.experiment.results import DatasetResults
from recbole_mm.model.recommender import TERM

SIMPLE = ("Pop", "EASE", "ContentKNN", "ContentEASE")  # what a model with content should beat
_MOST_TOP_SHARE, _LEAST_ITEMS = 0.5, 200
_ABOVE_ALL = 0.95  # share of the loss, in size


def warnings_of(results: DatasetResults, label: str) -> list[str]:
    """Warnings about one row.

    Args:
        results: of the row's data set.
        label: of the row.
    """
    runs, tables = results.rows[label], results.tables
    found: list[str] = []
    found += of_training(runs["best_epoch"], runs["ended"])
    found += of_lists(results.beyond[label]["top share"].max(), len(tables.data(runs.iloc[0], "items")))
    found += _other_data(results, label)
    found += _failed_settings(results, label)
    found += _below_simple(results, runs)
    part = _dominant_part(tables.curves[tables.curves["run"].isin(runs["run"])])
    return [*found, *([f"one part of the loss, {part}, is above all others"] if part else [])]


def of_training(best_epochs: pd.Series, ended: pd.Series) -> list[str]:
    """What the best epochs of some runs, 0 where they are not known, and their ends say."""
    first = (best_epochs == 1) & (ended != "solved")
    counts = {"best epoch 1": first.sum(), "ended at its cap": (ended == "cap").sum()}
    return [f"{says} ({count} of {len(ended)})" for says, count in counts.items() if count]


def of_lists(top_share: float, n_items: int) -> list[str]:
    """What the share of places of the 100 most popular of a data set's items says, where these are few of them."""
    if n_items <= _LEAST_ITEMS or top_share <= _MOST_TOP_SHARE:
        return []
    return [f"{top_share:.0%} of its places go to the 100 most popular items"]


def _other_data(results: DatasetResults, label: str) -> list[str]:
    """A row whose own settings of data, such as another split, leave nothing that pairs of users could show."""
    best, own = (results.rows[row].set_index("seed")["data"] for row in (results.best, label))
    best = best[~best.index.duplicated()]  # of stores that were joined
    differ = (best.reindex(own.index) != own) & own.index.isin(best.index)
    return [f"of other interactions than {results.best}, with which it does not compare"] if differ.any() else []


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
    """A part of the loss that the others are small beside, where it is not the one that is to rank items."""
    parts = curves[curves["name"].str.startswith(TERM)] if len(curves) else curves
    if not len(parts):
        return None
    sizes = parts.groupby("name")["value"].apply(lambda values: values.abs().mean())
    largest = sizes.idxmax()
    is_above_all = len(sizes) > 1 and sizes[largest] > _ABOVE_ALL * sizes.sum()
    return largest if is_above_all and largest != f"{TERM}ranking" else None
