"""The tables of a report, each with what a reader must know of it and which of its cells stand out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from recbole_mm.experiment.leaks import BOUND, Leak
from recbole_mm.experiment.plan_terms import ID_ONLY
from recbole_mm.experiment.results import DatasetResults
from recbole_mm.experiment.tables import mean_and_spread
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
        is_folded: whether the page shows it when it is asked to.
    """

    dataset: str
    name: str
    title: str
    note: str
    table: pd.DataFrame
    marks: dict[tuple[int, str], set[str]] = field(default_factory=dict)
    is_folded: bool = False


def sections_of(results: DatasetResults) -> Iterator[Section]:
    """The tables about one data set: headline, strata, beyond accuracy, audits, sweeps, and what was searched.

    There is a headline table for each row that the others are compared with.
    """
    dataset = results.dataset
    for base in results.bases:
        yield _headline(results, base)
    yield strata_section(results)
    yield beyond_section(results)
    if results.audits:
        yield _audit(results)
    if len(results.leaks):
        yield _leaks(results)
    for study, runs in results.sweeps.items():
        name = f"{dataset}-sweep-{study.replace(': ', '-')}"
        yield Section(dataset, name, f"Sweep of {study}", "", _sweep(results, runs))
    yield _settings(results)


def file_name(text: str) -> str:
    """A text as the name of a file: letters, digits, and ``-_.``; all else an underscore."""
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in text)


def _headline(results: DatasetResults, base: str) -> Section:
    found, metrics, metric = results.against(base), results.tables.metrics, results.metric
    means = pd.DataFrame({name: [runs[f"test_{name}"].mean() for runs in results.rows.values()] for name in metrics})
    marks, labels = best_marks(means), list(results.rows)
    for label, comparison in results.against(results.best).items():
        if comparison.verdict == "not shown":
            marks.setdefault((labels.index(label), metric), set()).add(TIED)
    for label, comparison in found.items():
        if comparison.verdict == "better":
            marks.setdefault((labels.index(label), metric), set()).add(SHOWN)
    lines = [_headline_row(results, label, base) for label in labels]
    note = (
        "Tests are paired over users, p of the t-test and p of Wilcoxon's, after Holm's correction over the rows of "
        "this table; effect is the mean over users of the difference by its standard deviation."
    )
    return Section(results.dataset, f"{results.dataset}-{base}", f"Against {base}", note, pd.DataFrame(lines), marks)


def _headline_row(results: DatasetResults, label: str, base: str) -> dict[str, object]:
    runs, found, metric = results.rows[label], results.against(base).get(label), results.metric
    difference = "" if found is None else f"{found.relative:+.1%} [{found.low:+.4f}, {found.high:+.4f}]"
    return {
        "row": label,
        "seeds": len(runs),
        **{name: _mean(runs[f"test_{name}"]) for name in results.tables.metrics},
        f"{metric} against {base}": difference,
        "p": "" if found is None else f"{found.p:.2g}",
        "p (Wilcoxon)": "" if found is None else f"{found.p_ranks:.2g}",
        "effect": "" if found is None else f"{found.effect:+.3f}",
        "verdict": "" if found is None else found.verdict,
        "would show": "" if found is None else f"{found.detectable:.4f}",
        "tried": int(runs["budget"].iloc[0]),
        **_collapse(runs, results.beyond[label]),
        "s / epoch": f"{runs['seconds_per_epoch'].median():.2f}",
        "MB": f"{runs['peak_memory'].max():.0f}",
        "warnings": "; ".join(warnings_of(results, label)),
    }


def strata_section(results: DatasetResults) -> Section:
    """The metric for each kind of items and users."""
    note = f"{results.metric} with the held-out items, or the users, of each kind alone."
    table, name = texts_of(results.strata), f"{results.dataset}-strata"
    return Section(results.dataset, name, "Where it is", note, table, best_marks(results.strata))


def beyond_section(results: DatasetResults) -> Section:
    """What lists are like, whatever is right."""
    lines = []
    for label, runs in results.rows.items():
        features = {name.removeprefix("beyond_"): runs[name].mean() for name in runs if name.startswith("beyond_")}
        values = {**results.beyond[label].mean(), **features}
        texts = {name: "" if pd.isna(value) else f"{value:.4g}" for name, value in values.items()}
        lines.append({"row": label, **texts})
    return Section(results.dataset, f"{results.dataset}-beyond", "Beyond accuracy", "", pd.DataFrame(lines))


def _audit(results: DatasetResults) -> Section:
    lines = []
    for label, own in results.audits.items():
        real = float(results.rows[label][f"test_{results.metric}"].mean())
        for (modality, kind), comparison in own.items():
            lines.append(
                {
                    "row": label,
                    "modality": modality,
                    "replaced by": f"{kind} ({results.id_only_row(label)})" if kind == ID_ONLY else kind,
                    results.metric: f"{real + comparison.difference:.4f}",
                    "real": f"{real:.4f}",
                    "change": f"{comparison.relative:+.1%}",
                    "interval": f"[{comparison.low:+.4f}, {comparison.high:+.4f}]",
                    "p": f"{comparison.p:.2g}",
                    "verdict": comparison.verdict,
                    "would show": f"{comparison.detectable:.4f}",
                }
            )
    note = (
        "Each row trained again, with the same settings and as many parameters, on replaced features, from which "
        "graphs are built anew, or with a modality left out: what a model loses is what the modality is worth to it. A "
        "shuffle gives every item another's features and decides; at evaluation the weights stay those of the real "
        "features, and item graphs are kept or rebuilt of the replaced ones; id_only is the model of IDs alone that a "
        "row's stands on, with settings of its own; p is after Holm's correction over the row's knock-outs."
    )
    title = "What each modality is worth"
    return Section(results.dataset, f"{results.dataset}-audit", title, note, pd.DataFrame(lines))


def _leaks(results: DatasetResults) -> Section:
    lines = []
    for _, row in results.leaks.iterrows():
        leak = Leak(row["of_all"], row["of_training"], row["reference"], row["n_items"])
        numbers = {"T": leak.excess, "of all": leak.of_all, "of training": leak.of_training}
        numbers["T of a leak"] = leak.reference
        lines.append(
            {
                "modality": row["modality"],
                "leak": row["verdict"],
                **{name: f"{value:+.3f}" if leak.is_measured else "" for name, value in numbers.items()},
                "items": leak.n_items,
                "seed of the split": row["seed"],
                "why": leak.why,
            }
        )
    note = (
        f"Whether similarities of items by features follow those by all interactions beyond those by the training ones "
        f"(of all), more than the other way round (of training). Found: the difference T is above {BOUND}. T of a leak "
        "is that of noisy factors of all interactions on the same items: where it is below, nothing could be found. A "
        "leak that is small beside noise or content is not seen; content that all but decides who likes an item is "
        "taken for one."
    )
    title = "Do features know held-out interactions?"
    return Section(results.dataset, f"{results.dataset}-leaks", title, note, pd.DataFrame(lines))


def _collapse(runs: pd.DataFrame, beyond: pd.DataFrame) -> dict[str, str]:
    """What shows a collapsed model: the epoch chosen, and the share of places that the most popular items take."""
    return {"best epoch": f"{runs['best_epoch'].mean():.0f}", "top share": f"{beyond['top share'].mean():.0%}"}


def _sweep(results: DatasetResults, runs: pd.DataFrame) -> pd.DataFrame:
    keys = [name for name in runs if name.startswith("sweep.")]
    lines = []
    for values, own in runs.groupby(keys, sort=False):
        line = dict(zip((key.removeprefix("sweep.") for key in keys), values, strict=True))
        scores = {"test": own[f"test_{results.metric}"], "validation": own[f"valid_{results.metric}"]}
        means = {name: _mean(group) for name, group in scores.items()}
        lines.append({**line, **means, "seeds": len(own), **_collapse(own, results.beyond_of(own))})
    return pd.DataFrame(lines)


def _settings(results: DatasetResults) -> Section:
    """Each row's own; those that all have stand above."""
    settings = {label: json.loads(runs["settings"].iloc[0]) for label, runs in results.rows.items()}
    first = next(iter(settings.values()))
    shared = {
        key: value for key, value in first.items() if all(setting.get(key) == value for setting in settings.values())
    }
    lines = [
        {
            "row": label,
            "tried": int(runs["budget"].iloc[0]),
            "settings": _listed({key: value for key, value in settings[label].items() if key not in shared}),
        }
        for label, runs in results.rows.items()
    ]
    note = f"All rows have {_listed(shared)}." if shared else ""
    return Section(results.dataset, f"{results.dataset}-settings", "Settings", note, pd.DataFrame(lines))


def _listed(settings: dict[str, Any]) -> str:
    return ", ".join(f"{key}: {json.dumps(value)}" for key, value in settings.items())


def texts_of(values: pd.DataFrame) -> pd.DataFrame:
    """Lists of the seeds' values as texts."""
    return values.map(lambda cell: _mean(pd.Series(cell)) if isinstance(cell, list) else cell)


def best_marks(values: pd.DataFrame) -> dict[tuple[int, str], set[str]]:
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
