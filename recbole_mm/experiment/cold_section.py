"""The table of candidate sets: how rows do among all items, and among warm and cold ones alone."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from recbole_mm.experiment.results import DatasetResults
from recbole_mm.experiment.sections import Section, best_marks, texts_of
from recbole_mm.host.candidates import CANDIDATES


def cold_sections(results: DatasetResults) -> Iterator[Section]:
    """The metric on each candidate set of the rows that were tested on all; nothing where none was."""
    columns = {"all items": f"test_{results.metric}"}
    columns |= {f"{kind} items": f"test_{kind}_{results.metric}" for kind in CANDIDATES}
    lines = []
    for label, runs in results.rows.items():
        values = runs.reindex(columns=list(columns.values())).set_axis(list(columns), axis="columns")
        if values.notna().all(axis=None):
            warm, cold = (values[f"{kind} items"] for kind in CANDIDATES)
            values["harmonic mean"] = 2 * warm * cold / (warm + cold).where(warm + cold > 0, 1)
            lines.append({"row": label, **{name: list(values[name]) for name in values}})
    if not lines:
        return
    table = pd.DataFrame(lines)
    note = (
        f"{results.metric} of the held-out items of each kind, with candidates of that kind alone, over the users who "
        "have one held out; and the harmonic mean of warm and cold. Models of IDs alone score cold items by vectors "
        "that nothing has trained."
    )
    name, title = f"{results.dataset}-cold", "Warm and cold items"
    yield Section(results.dataset, name, title, note, texts_of(table), best_marks(table))
