"""The tables of candidate sets: how rows do among all items, and among warm and cold ones alone."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from recbole_mm.experiment.results import DatasetResults
from recbole_mm.experiment.sections import SHOWN, Section, best_marks, texts_of
from recbole_mm.experiment.statistics import Comparison, compare
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


def cold_comparisons(results: DatasetResults) -> Iterator[Section]:
    """Each other row against those that rows are compared with, on warm and on cold items; nothing where none is."""
    for base in results.bases:
        lines: list[dict[str, str]] = []
        marks = {}
        for kind in CANDIDATES:
            for label, found in _against(results, base, f"{kind}_{results.metric}").items():
                if found.verdict == "better":
                    marks[len(lines), "verdict"] = {SHOWN}
                lines.append({"items": kind, "row": label, **_line(found)})
        if lines:
            note = (
                f"Differences in {results.metric} with candidates of each kind alone, over the users who have one held "
                "out in every seed, and over seeds; p is after Holm's correction over the rows of a kind."
            )
            name, title = f"{results.dataset}-cold-{base}", f"Warm and cold items against {base}"
            yield Section(results.dataset, name, title, note, pd.DataFrame(lines), marks)


def _against(results: DatasetResults, base: str, metric: str) -> dict[str, Comparison]:
    """Nothing in stores of before these metrics were kept by user; rows without them are left out."""
    if metric not in results.tables.per_user:
        return {}
    values = {label: results.tables.values(runs, metric) for label, runs in results.rows.items()}
    measured = {label: own for label, own in values.items() if len(own)}
    other = measured.pop(base, None)
    return {} if other is None else compare(measured, other)


def _line(found: Comparison) -> dict[str, str]:
    return {
        "difference": f"{found.difference:+.4f} [{found.low:+.4f}, {found.high:+.4f}]",
        "p": f"{found.p:.2g}",
        "verdict": found.verdict,
        "would show": f"{found.detectable:.4f}",
    }
