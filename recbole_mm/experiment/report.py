"""What an experiment found: ``report.html``, ``report.md``, and beside them ``tables/`` and ``figures/`` of a store."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from recbole_mm.analysis.pages import write_page
from recbole_mm.experiment.latex import latex
from recbole_mm.experiment.plots import Plot, plots_of
from recbole_mm.experiment.results import DatasetResults
from recbole_mm.experiment.sections import BEST, Section, file_name, sections_of
from recbole_mm.experiment.statistics import ALPHA, LEAST_SEEDS
from recbole_mm.experiment.tables import StoreTables, read_store
from recbole_mm.io.files import atomic_file

_WORDS = (
    f"Words follow the numbers: a row is better or worse than the one it is compared with where the interval of the "
    f"difference, over users and seeds, leaves zero out and the paired test over users is below {ALPHA} after Holm's "
    f"correction; both need at least {LEAST_SEEDS} seeds. Everything else is not shown."
)


def write_report(folder: Path, compare_with: list[str] | None = None) -> Path:
    """Write the report of a store, as a page and in Markdown; gives the page's path.

    Args:
        folder: of the store.
        compare_with: labels of the rows that all others are compared with; the best row if not given.

    Raises as :func:`recbole_mm.experiment.tables.read_store`.
    """
    tables = read_store(folder)
    sections: list[Section] = []
    plots: list[Plot] = []
    for name in ("tables", "figures"):
        (folder / name).mkdir(exist_ok=True)
    for dataset in tables.datasets:
        results = DatasetResults(tables, dataset, compare_with or [])
        sections += sections_of(results)
        plots += plots_of(results, folder / "figures")
    for section in sections:
        _write_table(section, folder / "tables")
    _write(folder / "report.md", "\n".join(_markdown(folder.name, tables, sections, plots)) + "\n")
    return write_page(
        folder / "report.html",
        "report.html",
        package=__package__,
        name=folder.name,
        words=_WORDS,
        datasets={name: _shown(name, sections, plots) for name in tables.datasets},
        failed=list(_failed(tables)),
        made_with=list(_made_with(tables)),
    )


def _write_table(section: Section, folder: Path) -> None:
    name = file_name(section.name)
    _write(folder / f"{name}.csv", section.table.to_csv(index=False))
    _write(folder / f"{name}.tex", latex(section))


def _write(file: Path, text: str) -> None:
    with atomic_file(file) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _shown(dataset: str, sections: list[Section], plots: list[Plot]) -> dict[str, Any]:
    """What the page has about a data set; its figures are in it, so that it opens anywhere."""
    return {
        "sections": [
            {
                "title": section.title,
                "note": section.note,
                "columns": list(section.table),
                "rows": [
                    [
                        (cell, " ".join(sorted(section.marks.get((number, name), ()))))
                        for cell, name in zip(row, section.table, strict=True)
                    ]
                    for number, row in enumerate(section.table.fillna("").itertuples(index=False))
                ],
            }
            for section in sections
            if section.dataset == dataset
        ],
        "figures": [
            (plot.caption, base64.b64encode(plot.files[1].read_bytes()).decode())
            for plot in plots
            if plot.dataset == dataset
        ],
    }


# ---------------------------------------------------------------- Markdown


def _markdown(name: str, tables: StoreTables, sections: list[Section], plots: list[Plot]) -> Iterator[str]:
    yield from [f"# {name}", "", _WORDS]
    for dataset in tables.datasets:
        yield from ["", f"## {dataset}"]
        for section in (one for one in sections if one.dataset == dataset):
            yield from ["", f"### {section.title}", *(["", section.note] if section.note else [])]
            yield from _markdown_table(section)
        for plot in (one for one in plots if one.dataset == dataset):
            yield from ["", f"![{plot.caption}](figures/{plot.files[0].name})", "", plot.caption]
    failed = list(_failed(tables))
    if failed:
        yield from ["", "## Runs that failed", "", *(f"- {line}" for line in failed)]
    yield from ["", "## Made with", "", *(f"- {line}" for line in _made_with(tables))]


def _markdown_table(section: Section) -> Iterator[str]:
    yield ""
    yield _line(section.table.columns)
    yield _line(["---"] * len(section.table.columns))
    for number, row in enumerate(section.table.fillna("").itertuples(index=False)):
        best = [BEST in section.marks.get((number, name), ()) for name in section.table]
        yield _line(f"**{cell}**" if bold else cell for cell, bold in zip(row, best, strict=True))


def _line(cells: Iterable[object]) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


# ---------------------------------------------------------------- both


def _failed(tables: StoreTables) -> Iterator[str]:
    for _, run in tables.failed.iterrows():
        yield f"{run['label']} on {run['dataset']}, seed {run['seed']}: {run['error']}"


def _made_with(tables: StoreTables) -> Iterator[str]:
    runs = tables.runs
    versions = {tuple(sorted(json.loads(text).items())) for text in runs["versions"]}
    for one in sorted(versions):
        yield ", ".join(f"{name} {version}" for name, version in one)
    yield "; ".join(sorted(set(runs["hardware"])))
    chosen_by = ", ".join(sorted(set(runs["chosen_by"])))
    yield f"{runs['seconds'].sum() / 3600:.2f} hours of runs; settings and epochs chosen by {chosen_by} on validation"
    commits = sorted(set(runs["commit"]) - {""})
    if commits:
        yield f"commit {', '.join(commits)}"
