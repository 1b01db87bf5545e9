"""The table of what models log beside losses and metrics: whether a part moved, and where it stood when tested."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from recbole_mm.experiment.results import DatasetResults
from recbole_mm.experiment.sections import Section, texts_of

NOT_SHOWN = ("loss", "valid_")  # what the names of losses, their parts and validation metrics begin with
MOMENTS = ("first epoch", "tested epoch", "last epoch")


def logged_sections(results: DatasetResults) -> Iterator[Section]:
    """What each row's model logged in its last stage, such as gates and spreads of weights; nothing where none did."""
    lines = [line for label, runs in results.rows.items() for line in _lines(label, runs, results.tables.curves)]
    if not lines:
        return
    note = (
        "Of the last stage's training epochs, beside the loss and validation metrics: the first, the one whose weights "
        "were tested, and the last. A part of a model whose numbers stay where they began did not act."
    )
    table = texts_of(pd.DataFrame(lines))
    yield Section(results.dataset, f"{results.dataset}-logged", "What was logged", note, table, is_folded=True)


def _lines(label: str, runs: pd.DataFrame, curves: pd.DataFrame) -> Iterator[dict[str, object]]:
    """A line for each name, with the values of all of a row's runs."""
    own = [
        _moments(curves[curves["run"] == run], best) for run, best in zip(runs["run"], runs["best_epoch"], strict=True)
    ]
    for name, values in pd.concat(own).groupby(level="name", sort=False):
        yield {"row": label, "value": name, **{moment: list(values[moment].dropna()) for moment in MOMENTS}}


def _moments(curves: pd.DataFrame, best_epoch: int) -> pd.DataFrame:
    """Each name's values in a run's last stage, a column for each of :data:`MOMENTS`."""
    last_stage = curves["stage"] == (curves["stage"].iloc[-1] if len(curves) else "")
    logged = curves[last_stage & ~curves["name"].str.startswith(NOT_SHOWN)].sort_values("epoch")
    values = logged.groupby("name", sort=False)["value"]
    tested = logged[logged["epoch"] + 1 == best_epoch].groupby("name")["value"].first()
    return pd.DataFrame(dict(zip(MOMENTS, (values.first(), tested, values.last()), strict=True))).rename_axis("name")
