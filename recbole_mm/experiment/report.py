"""What an experiment found, in Markdown, and its tables as CSV: ``report.md`` and ``tables/`` of a store."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd

from recbole_mm.experiment.statistics import ALPHA, LEAST_SEEDS, Comparison, compare
from recbole_mm.experiment.strata import beyond_accuracy, item_strata, recall_and_ndcg, user_strata
from recbole_mm.experiment.tables import StoreTables, mean_and_spread, read_store
from recbole_mm.experiment.warnings import warnings_of
from recbole_mm.io.files import atomic_file

_WORDS = (
    f"Words follow the numbers: a row is better or worse than the one it is compared with where the interval of the "
    f"difference, over users and seeds, leaves zero out and the paired test over users is below {ALPHA} after Holm's "
    f"correction; both need at least {LEAST_SEEDS} seeds. Everything else is not shown."
)


def write_report(folder: Path, compare_with: list[str] | None = None) -> Path:
    """Write ``report.md``, and its tables as CSV beside it; gives its path.

    Args:
        folder: of the store.
        compare_with: labels of the rows that all others are compared with; the first row if not given.

    Raises as :func:`recbole_mm.experiment.tables.read_store`.
    """
    tables = read_store(folder)
    lines = [f"# {folder.name}", "", _WORDS]
    for dataset in tables.datasets:
        lines += ["", f"## {dataset}", *_dataset(tables, dataset, compare_with or [], folder / "tables")]
    if len(tables.failed):
        lines += ["", "## Runs that failed", ""]
        lines += [
            f"- {run['label']} on {run['dataset']}, seed {run['seed']}: {run['error']}"
            for _, run in tables.failed.iterrows()
        ]
    lines += ["", "## Made with", "", *_made_with(tables)]
    with atomic_file(folder / "report.md") as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "report.md"


def main_metric(tables: StoreTables) -> str:
    """The metric that chose the epochs, where it was measured by user; else the first."""
    chosen = str(tables.runs["chosen_by"].iloc[0]).lower()
    return chosen if chosen in tables.metrics else tables.metrics[0]


def _dataset(tables: StoreTables, dataset: str, compare_with: list[str], out: Path) -> Iterator[str]:
    rows, metric = tables.rows(dataset), main_metric(tables)
    groups = {label: runs for label, runs in rows.groupby("label", sort=False)}
    groups = dict(sorted(groups.items(), key=lambda group: -group[1][f"test_{metric}"].mean()))
    bases = [label for label in compare_with if label in groups] or list(groups)[:1]
    for base in bases:
        values = {label: tables.values(runs, metric) for label, runs in groups.items()}
        other = values.pop(base)
        yield from _written(_headline(tables, groups, compare(values, other), base, metric), out, f"{dataset}-{base}")
    yield from ["", "### Where it is", "", f"{metric} with the held-out items, or the users, of each kind alone."]
    yield from _written(_strata(tables, groups, metric), out, f"{dataset}-strata")
    yield from ["", "### Beyond accuracy"]
    yield from _written(_beyond(tables, groups, metric), out, f"{dataset}-beyond")
    for model, runs in tables.sweeps(dataset).items():
        yield from ["", f"### Sweep of {model}"]
        yield from _written(_sweep(runs, metric), out, f"{dataset}-sweep-{model}")


def _headline(
    tables: StoreTables, groups: dict[str, pd.DataFrame], found: dict[str, Comparison], base: str, metric: str
) -> pd.DataFrame:
    lines = []
    for label, runs in groups.items():
        line = {"row": label, "seeds": len(runs)}
        line |= {name: _mean(runs[f"test_{name}"]) for name in tables.metrics}
        one = found.get(label)
        line[f"{metric} against {base}"] = (
            "" if one is None else f"{one.relative:+.1%} [{one.low:+.4f}, {one.high:+.4f}]"
        )
        line |= {"p": "" if one is None else f"{one.p:.2g}", "verdict": "" if one is None else one.verdict}
        line["would show"] = "" if one is None else f"{one.detectable:.4f}"
        line["tried"] = int(runs["budget"].iloc[0])
        line["best epoch"] = f"{runs['best_epoch'].mean():.0f}"
        line["s / epoch"] = f"{runs['seconds_per_epoch'].median():.2f}"
        line["MB"] = f"{runs['peak_memory'].max():.0f}"
        line["warnings"] = "; ".join(warnings_of(tables, runs, metric))
        lines.append(line)
    return pd.DataFrame(lines)


def _strata(tables: StoreTables, groups: dict[str, pd.DataFrame], metric: str) -> pd.DataFrame:
    name, _, k = metric.partition("@")
    column = name if name in ("recall", "ndcg") else "ndcg"
    lines = []
    for label, runs in groups.items():
        values: dict[str, list[float]] = {}
        for _, run in runs.iterrows():
            lists, test = tables.lists_of(run["run"]), tables.data(run, "test")
            for stratum, items in item_strata(tables.data(run, "items")).items():
                values.setdefault(f"items: {stratum}", []).append(
                    recall_and_ndcg(lists, test, int(k), items)[column].mean()
                )
            for stratum, users in user_strata(tables.data(run, "users")).items():
                own = recall_and_ndcg(lists[lists.index.isin(users)], test, int(k))[column]
                values.setdefault(f"users: {stratum}", []).append(own.mean())
        lines.append({"row": label, **{stratum: _mean(pd.Series(one)) for stratum, one in values.items()}})
    return pd.DataFrame(lines)


def _beyond(tables: StoreTables, groups: dict[str, pd.DataFrame], metric: str) -> pd.DataFrame:
    k, lines = int(metric.rpartition("@")[2]), []
    for label, runs in groups.items():
        measured = [
            beyond_accuracy(tables.lists_of(run["run"]), tables.data(run, "items"), k) for _, run in runs.iterrows()
        ]
        own = pd.DataFrame(measured).mean()
        features = {name.removeprefix("beyond_"): runs[name].mean() for name in runs if name.startswith("beyond_")}
        lines.append({"row": label, **{name: f"{value:.4g}" for name, value in {**own, **features}.items()}})
    return pd.DataFrame(lines)


def _sweep(runs: pd.DataFrame, metric: str) -> pd.DataFrame:
    keys = [name for name in runs if name.startswith("sweep.")]
    lines = []
    for values, own in runs.groupby(keys, sort=False):
        line = dict(zip((key.removeprefix("sweep.") for key in keys), values, strict=True))
        scores = {"test": own[f"test_{metric}"], "validation": own[f"valid_{metric}"]}
        lines.append({**line, **{name: _mean(one) for name, one in scores.items()}, "seeds": len(own)})
    return pd.DataFrame(lines)


def _mean(values: pd.Series) -> str:
    mean, spread = mean_and_spread(values)
    return f"{mean:.4f}" if pd.isna(spread) else f"{mean:.4f} ± {spread:.4f}"


def _written(table: pd.DataFrame, out: Path, name: str) -> Iterator[str]:
    """The table in Markdown, after it is written as CSV."""
    out.mkdir(exist_ok=True)
    safe = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name)
    with atomic_file(out / f"{safe}.csv") as temporary:
        table.to_csv(temporary, index=False)
    yield ""
    yield _line(table.columns)
    yield _line(["---"] * len(table.columns))
    yield from (_line(row) for row in table.fillna("").itertuples(index=False))


def _line(cells: Iterable[object]) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def _made_with(tables: StoreTables) -> Iterator[str]:
    runs = tables.runs
    versions = {tuple(sorted(json.loads(text).items())) for text in runs["versions"]}
    for one in sorted(versions):
        yield "- " + ", ".join(f"{name} {version}" for name, version in one)
    yield "- " + "; ".join(sorted(set(runs["hardware"])))
    chosen_by = ", ".join(sorted(set(runs["chosen_by"])))
    yield f"- {runs['seconds'].sum() / 3600:.2f} hours of runs; settings and epochs chosen by {chosen_by} on validation"
    commits = sorted(set(runs["commit"]) - {""})
    if commits:
        yield f"- commit {', '.join(commits)}"
