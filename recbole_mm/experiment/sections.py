"""The tables of a report, each with what a reader must know of it and which of its cells stand out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pandas as pd

from recbole_mm.experiment.statistics import Comparison, compare
from recbole_mm.experiment.strata import beyond_accuracy, item_strata, recall_and_ndcg, user_strata
from recbole_mm.experiment.tables import StoreTables, mean_and_spread
from recbole_mm.experiment.warnings import warnings_of

BEST, SECOND, TIED, SHOWN = "best", "second", "tied", "shown"


@dataclass(frozen=True)
class Section:
    """A table.

    Attributes:
        dataset: that it is about.
        name: of its files.
        title: of the section.
        note: what a reader must know.
        table: texts.
        marks: :data:`BEST` and :data:`SECOND` of a column of metrics; :data:`TIED`, not shown to differ from the best
            row; :data:`SHOWN`, shown to be better than the row compared with; by row number and column.
    """

    dataset: str
    name: str
    title: str
    note: str
    table: pd.DataFrame
    marks: dict[tuple[int, str], set[str]] = field(default_factory=dict)


def sections_of(tables: StoreTables, dataset: str, compare_with: list[str]) -> Iterator[Section]:
    """The tables about one data set: headline, strata, beyond accuracy, sweeps, and what was searched.

    Args:
        tables: of the store.
        dataset: name of one of theirs.
        compare_with: labels of rows that all others are compared with, a headline table each; the best row if none.
    """
    metric, groups = main_metric(tables), rows_by_label(tables, dataset)
    for base in [label for label in compare_with if label in groups] or list(groups)[:1]:
        yield _headline(tables, dataset, groups, base, metric)
    note = f"{metric} with the held-out items, or the users, of each kind alone."
    strata = strata_of(tables, groups, metric)
    yield Section(dataset, f"{dataset}-strata", "Where it is", note, _texts(strata), _best(strata))
    yield Section(dataset, f"{dataset}-beyond", "Beyond accuracy", "", _beyond(tables, groups, metric))
    if tables.audits(dataset):
        yield _audit(tables, dataset, groups, metric)
    for model, runs in tables.sweeps(dataset).items():
        yield Section(dataset, f"{dataset}-sweep-{model}", f"Sweep of {model}", "", _sweep(tables, runs, metric))
    yield Section(dataset, f"{dataset}-settings", "Settings", "", _settings(groups))


def file_name(text: str) -> str:
    """A text as the name of a file: letters, digits, and ``-_.``; all else an underscore."""
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in text)


def main_metric(tables: StoreTables) -> str:
    """The metric that chose the epochs, where it was measured by user; else the first."""
    chosen = str(tables.runs["chosen_by"].iloc[0]).lower()
    return chosen if chosen in tables.metrics else tables.metrics[0]


def rows_by_label(tables: StoreTables, dataset: str) -> dict[str, pd.DataFrame]:
    """The runs of each row of the table, the best row by :func:`main_metric` first."""
    column = f"test_{main_metric(tables)}"
    groups = dict(iter(tables.rows(dataset).groupby("label", sort=False)))
    return dict(sorted(groups.items(), key=lambda group: -group[1][column].mean()))


def compared(tables: StoreTables, groups: dict[str, pd.DataFrame], base: str, metric: str) -> dict[str, Comparison]:
    """Every other row against one."""
    values = {label: tables.values(runs, metric) for label, runs in groups.items()}
    other = values.pop(base)
    return compare(values, other)


def _headline(tables: StoreTables, dataset: str, groups: dict[str, pd.DataFrame], base: str, metric: str) -> Section:
    found = compared(tables, groups, base, metric)
    means = pd.DataFrame({name: [runs[f"test_{name}"].mean() for runs in groups.values()] for name in tables.metrics})
    marks = _best(means)
    best, labels = next(iter(groups)), list(groups)
    against_best = found if best == base else compared(tables, groups, best, metric)
    for label, comparison in against_best.items():
        if comparison.verdict == "not shown":
            marks.setdefault((labels.index(label), metric), set()).add(TIED)
    for label, comparison in found.items():
        if comparison.verdict == "better":
            marks.setdefault((labels.index(label), metric), set()).add(SHOWN)
    lines = [_headline_row(tables, label, runs, found.get(label), base, metric) for label, runs in groups.items()]
    return Section(dataset, f"{dataset}-{base}", f"Against {base}", "", pd.DataFrame(lines), marks)


def _headline_row(
    tables: StoreTables, label: str, runs: pd.DataFrame, found: Comparison | None, base: str, metric: str
) -> dict[str, object]:
    difference = "" if found is None else f"{found.relative:+.1%} [{found.low:+.4f}, {found.high:+.4f}]"
    return {
        "row": label,
        "seeds": len(runs),
        **{name: _mean(runs[f"test_{name}"]) for name in tables.metrics},
        f"{metric} against {base}": difference,
        "p": "" if found is None else f"{found.p:.2g}",
        "verdict": "" if found is None else found.verdict,
        "would show": "" if found is None else f"{found.detectable:.4f}",
        "tried": int(runs["budget"].iloc[0]),
        **_collapse(tables, runs, metric),
        "s / epoch": f"{runs['seconds_per_epoch'].median():.2f}",
        "MB": f"{runs['peak_memory'].max():.0f}",
        "warnings": "; ".join(warnings_of(tables, runs, metric)),
    }


def _collapse(tables: StoreTables, runs: pd.DataFrame, metric: str) -> dict[str, str]:
    """What shows a collapsed model: the epoch chosen, and the share of places that the most popular items take."""
    k = int(metric.rpartition("@")[2])
    shares = [
        beyond_accuracy(tables.lists_of(run["run"]), tables.data(run, "items"), k)["top share"]
        for _, run in runs.iterrows()
    ]
    return {"best epoch": f"{runs['best_epoch'].mean():.0f}", "top share": f"{pd.Series(shares).mean():.0%}"}


def strata_of(tables: StoreTables, groups: dict[str, pd.DataFrame], metric: str) -> pd.DataFrame:
    """The metric of each row for each kind of items and users: lists of the seeds' values, and the row's label."""
    name, _, k = metric.partition("@")
    column = name if name in ("recall", "ndcg") else "ndcg"
    lines = []
    for label, runs in groups.items():
        values: dict[str, list[float]] = {}
        for _, run in runs.iterrows():
            lists, test = tables.lists_of(run["run"]), tables.data(run, "test")
            for stratum, items in item_strata(tables.data(run, "items")).items():
                own = recall_and_ndcg(lists, test, int(k), items)[column]
                values.setdefault(f"items: {stratum}", []).append(own.mean())
            for stratum, users in user_strata(tables.data(run, "users")).items():
                own = recall_and_ndcg(lists[lists.index.isin(users)], test, int(k))[column]
                values.setdefault(f"users: {stratum}", []).append(own.mean())
        lines.append({"row": label, **values})
    return pd.DataFrame(lines)


def _beyond(tables: StoreTables, groups: dict[str, pd.DataFrame], metric: str) -> pd.DataFrame:
    k, lines = int(metric.rpartition("@")[2]), []
    for label, runs in groups.items():
        measured = [
            beyond_accuracy(tables.lists_of(run["run"]), tables.data(run, "items"), k) for _, run in runs.iterrows()
        ]
        own = pd.DataFrame(measured).mean()
        features = {name.removeprefix("beyond_"): runs[name].mean() for name in runs if name.startswith("beyond_")}
        texts = {name: "" if pd.isna(value) else f"{value:.4g}" for name, value in {**own, **features}.items()}
        lines.append({"row": label, **texts})
    return pd.DataFrame(lines)


def audited(
    tables: StoreTables, dataset: str, groups: dict[str, pd.DataFrame], metric: str
) -> dict[str, dict[tuple[str, str], Comparison]]:
    """Of each row what replacing a modality does to it, by modality and kind, corrected over the row's knock-outs."""
    found = {}
    for label, runs in tables.audits(dataset).items():
        if label in groups:
            by_kind = runs.groupby(["modality", "kind"], sort=False)
            values = {(str(one), str(kind)): tables.values(own, metric) for (one, kind), own in by_kind}
            found[label] = compare(values, tables.values(groups[label], metric))
    return found


def _audit(tables: StoreTables, dataset: str, groups: dict[str, pd.DataFrame], metric: str) -> Section:
    lines = [
        {
            "row": label,
            "modality": modality,
            "replaced by": kind,
            f"change of {metric}": f"{one.relative:+.1%}",
            "interval": f"[{one.low:+.4f}, {one.high:+.4f}]",
            "p": f"{one.p:.2g}",
            "verdict": one.verdict,
            "would show": f"{one.detectable:.4f}",
        }
        for label, own in audited(tables, dataset, groups, metric).items()
        for (modality, kind), one in own.items()
    ]
    note = (
        "Each row trained again, with the same settings, on replaced features, from which graphs are built anew: what "
        "a model loses is what the modality is worth to it. A shuffle gives every item another's features and decides; "
        "p is after Holm's correction over the row's knock-outs."
    )
    return Section(dataset, f"{dataset}-audit", "What each modality is worth", note, pd.DataFrame(lines))


def _sweep(tables: StoreTables, runs: pd.DataFrame, metric: str) -> pd.DataFrame:
    keys = [name for name in runs if name.startswith("sweep.")]
    lines = []
    for values, own in runs.groupby(keys, sort=False):
        line = dict(zip((key.removeprefix("sweep.") for key in keys), values, strict=True))
        scores = {"test": own[f"test_{metric}"], "validation": own[f"valid_{metric}"]}
        means = {name: _mean(one) for name, one in scores.items()}
        lines.append({**line, **means, "seeds": len(own), **_collapse(tables, own, metric)})
    return pd.DataFrame(lines)


def _settings(groups: dict[str, pd.DataFrame]) -> pd.DataFrame:
    lines = [
        {"row": label, "tried": int(runs["budget"].iloc[0]), "settings": runs["settings"].iloc[0]}
        for label, runs in groups.items()
    ]
    return pd.DataFrame(lines)


def _texts(values: pd.DataFrame) -> pd.DataFrame:
    """Lists of the seeds' values as texts."""
    return values.map(lambda cell: _mean(pd.Series(cell)) if isinstance(cell, list) else cell)


def _best(values: pd.DataFrame) -> dict[tuple[int, str], set[str]]:
    """Marks of the best and the second of each column of numbers, or of lists of numbers; none where all are equal."""
    marks: dict[tuple[int, str], set[str]] = {}
    numbers = values.drop(columns="row", errors="ignore").map(lambda cell: float(pd.Series(cell).mean()))
    for column in numbers:
        ranks = numbers[column].rank(ascending=False, method="min")
        if numbers[column].nunique() > 1:
            for row, rank in enumerate(ranks):
                if rank <= 2:
                    marks.setdefault((row, str(column)), set()).add(BEST if rank == 1 else SECOND)
    return marks


def _mean(values: pd.Series) -> str:
    mean, spread = mean_and_spread(values)
    return f"{mean:.4f}" if pd.isna(spread) else f"{mean:.4f} ± {spread:.4f}"
