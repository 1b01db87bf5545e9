"""What an experiment found: ``report.html``, ``report.md``, and beside them ``tables/`` and ``figures/`` of a store."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recbole_mm.analysis.pages import write_page
from recbole_mm.experiment.cold_section import cold_comparisons, cold_sections
from recbole_mm.experiment.examples import MOST_ROWS, Example, check_users, examples_of
from recbole_mm.experiment.item_cards import ItemCards
from recbole_mm.experiment.latex import latex
from recbole_mm.experiment.logged_section import logged_sections
from recbole_mm.experiment.plots import Plot, plots_of
from recbole_mm.experiment.published_section import published_sections
from recbole_mm.experiment.record import FAILED
from recbole_mm.experiment.results import DatasetResults
from recbole_mm.experiment.sections import BEST, Section, file_name, sections_of
from recbole_mm.experiment.statistics import ALPHA, LEAST_SEEDS
from recbole_mm.experiment.tables import StoreTables, read_store
from recbole_mm.io.files import atomic_file

N_EXAMPLES = 5
_WORDS = (
    f"Words follow the numbers: a row is better or worse than the one it is compared with where the interval of the "
    f"difference, over users and seeds, leaves zero out and the paired test over users is below {ALPHA} after Holm's "
    f"correction; both need at least {LEAST_SEEDS} seeds. Everything else is not shown."
)


@dataclass(frozen=True)
class Report:
    """What a page has, and the files beside it.

    Attributes:
        title: of the page.
        words: paragraphs that say how to read it.
        sections: its tables.
        plots: its figures.
        examples: of each data set.
        unreadable: names of pictures that are left out.
        failed: lines about runs without results.
        made_with: lines about versions and hardware.
    """

    title: str
    words: list[str]
    sections: list[Section]
    plots: list[Plot]
    examples: dict[str, list[Example]] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    made_with: list[str] = field(default_factory=list)

    @property
    def datasets(self) -> list[str]:
        """Their names, in order."""
        return list(dict.fromkeys(section.dataset for section in self.sections))

    def write(self, folder: Path) -> Path:
        """Write ``report.html``, ``report.md`` and ``tables/`` into a folder; gives the page's path."""
        (folder / "tables").mkdir(exist_ok=True)
        for section in self.sections:
            _write_table(section, folder / "tables")
        _write(folder / "report.md", "\n".join(_markdown(self)) + "\n")
        return write_page(
            folder / "report.html",
            "report.html",
            package=__package__,
            report=self,
            datasets={name: self._shown(name) for name in self.datasets},
        )

    def _shown(self, dataset: str) -> dict[str, Any]:
        """What the page has about a data set; its figures are in it, so that it opens anywhere."""
        return {
            "sections": [(section, _cells(section)) for section in self.sections if section.dataset == dataset],
            "figures": [
                (plot.caption, base64.b64encode(plot.files[1].read_bytes()).decode())
                for plot in self.plots
                if plot.dataset == dataset
            ],
            "examples": self.examples.get(dataset, []),
        }


def write_report(folder: Path, compare_with: list[str] | None = None, users: int | list[str] = N_EXAMPLES) -> Path:
    """Write the report of a store, as a page and in Markdown; gives the page's path.

    Args:
        folder: of the store.
        compare_with: labels of the rows that all others are compared with; the best row if not given.
        users: shown as examples, of data sets with titles of items; how many, or which.

    Raises as :func:`recbole_mm.experiment.tables.read_store`, and as `check_users` of the examples.
    """
    tables = read_store(folder)
    found = [DatasetResults(tables, dataset, compare_with or []) for dataset in tables.datasets]
    check_users(users, found)
    (folder / "figures").mkdir(exist_ok=True)
    return Report(
        folder.name,
        [_WORDS, "± is the standard deviation over seeds."],
        [section for results in found for section in _sections(results)],
        [plot for results in found for plot in plots_of(results, folder / "figures")],
        {results.dataset: list(_examples(results, users)) for results in found},
        failed=list(_failed(tables)),
        made_with=list(_made_with(tables)),
    ).write(folder)


def _sections(results: DatasetResults) -> Iterator[Section]:
    yield from sections_of(results)
    yield from cold_sections(results)
    yield from cold_comparisons(results)
    yield from published_sections(results)
    yield from logged_sections(results)


def _examples(results: DatasetResults, users: int | list[str]) -> Iterator[Example]:
    """None where the store has no titles, as that of older runs, or no training interactions."""
    run = results.rows[results.best].iloc[0]
    items = results.tables.data(run, "items")
    if "title" in items and results.tables.has_data(run, "train"):
        cards = ItemCards({item: [title] for item, title in zip(items["item"], items["title"], strict=True)})
        yield from examples_of(results, users, cards, list(results.rows)[:MOST_ROWS])


def _write_table(section: Section, folder: Path) -> None:
    name = file_name(section.name)
    _write(folder / f"{name}.csv", section.table.to_csv(index=False))
    _write(folder / f"{name}.tex", latex(section))


def _write(file: Path, text: str) -> None:
    with atomic_file(file) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _cells(section: Section) -> list[list[tuple[object, str]]]:
    """Rows of cells, each with its classes."""
    return [
        [
            (cell, " ".join(sorted(section.marks.get((number, name), ()))))
            for cell, name in zip(row, section.table, strict=True)
        ]
        for number, row in enumerate(section.table.fillna("").itertuples(index=False))
    ]


# ---------------------------------------------------------------- Markdown


def _markdown(report: Report) -> Iterator[str]:
    yield from [f"# {report.title}", "", "\n\n".join(report.words)]
    for dataset in report.datasets:
        yield from ["", f"## {dataset}"]
        for section in (section for section in report.sections if section.dataset == dataset):
            yield from ["", f"### {section.title}", *(["", section.note] if section.note else [])]
            yield from _markdown_table(section)
        for plot in (plot for plot in report.plots if plot.dataset == dataset):
            yield from ["", f"![{plot.caption}](figures/{plot.files[0].name})", "", plot.caption]
    if report.failed:
        yield from ["", "## Runs that failed", "", *(f"- {line}" for line in report.failed)]
    yield from ["", "## Made with", "", *(f"- {line}" for line in report.made_with)]


def _markdown_table(section: Section) -> Iterator[str]:
    yield ""
    yield _line(section.table.columns)
    yield _line(["---"] * len(section.table.columns))
    for number, row in enumerate(section.table.fillna("").itertuples(index=False)):
        best = [BEST in section.marks.get((number, name), ()) for name in section.table]
        yield _line(f"**{cell}**" if bold else cell for cell, bold in zip(row, best, strict=True))


def _line(cells: Iterable[object]) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


# ---------------------------------------------------------------- of a store


def _failed(tables: StoreTables) -> Iterator[str]:
    for _, run in tables.failed.iterrows():
        yield f"{run['label']} on {run['dataset']}, seed {run['seed']}: {run['error']}"
    for _, leak in tables.leaks[tables.leaks["error"] != ""].iterrows():
        yield f"leak sentinel: {leak['modality']} of {leak['dataset']}: {leak['error']}"
    for _, tried in tables.trials[tables.trials["status"] == FAILED].iterrows():
        yield f"{tried['label']} on {tried['dataset']}, searching, {tried['settings']}: {tried['error']}"


def _made_with(tables: StoreTables) -> Iterator[str]:
    runs = tables.runs
    versions = {tuple(sorted(json.loads(text).items())) for text in runs["versions"]}
    for combination in sorted(versions):
        yield ", ".join(f"{name} {version}" for name, version in combination)
    yield "; ".join(sorted(set(runs["hardware"])))
    chosen_by = ", ".join(sorted(set(runs["chosen_by"])))
    yield f"{runs['seconds'].sum() / 3600:.2f} hours of runs; settings and epochs chosen by {chosen_by} on validation"
    commits = sorted(set(runs["commit"]) - {""})
    if commits:
        yield f"commit {', '.join(commits)}"
