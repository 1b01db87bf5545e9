"""MicroLens: pairs of user and video, titles, and covers as pictures.

`MicroLens-100k_pairs.csv` has the columns user, item, timestamp (milliseconds); where there is only
`MicroLens-100k_pairs.tsv`, a line is a user, a tab, and the items in the order of time, separated by blanks.
`MicroLens-50k_titles.csv` (item, title) or `MicroLens-100k_title_en.csv` (the same, without a header) gives the titles.
`MicroLens-100k_covers/<item>.jpg` are pictures: they stay where they are, and the command that extracts features from
them is shown.

Source: the README of github.com/westlake-repl/MicroLens and the file names of recsys.westlake.edu.cn.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from recbole_mm.data.conversion.columns import guess, plain
from recbole_mm.data.conversion.delimited import DelimitedFile, header_of
from recbole_mm.data.conversion.layout import COLUMNS, Converter, Interactions, Items
from recbole_mm.data.conversion.tables import read_interactions, table_plan
from recbole_mm.data.conversion.text_lines import first_line, numbered_lines
from recbole_mm.io.reading import files_in, has_file
from recbole_mm.registry import register_converter

CHUNK_ROWS = 100_000


@register_converter("microlens", help="MicroLens's *_pairs.csv, *_title*.csv and *_covers")
class MicroLensConverter(Converter):
    """See the module."""

    reads = COLUMNS

    @classmethod
    def recognise(cls, source: Path) -> str | None:
        """A file of pairs with MicroLens's columns."""
        pairs = _pairs(source)
        if pairs is None:
            return None
        beside = [path.name for path in (_titles(source), _covers(source)) if path is not None]
        return ", ".join([pairs.name, *beside])

    def plan(self) -> list[str]:
        """Which columns stand for what."""
        pairs = self._pairs()
        if pairs.suffix == ".tsv":
            return [f"{pairs.name}: a user and the items in the order of time a line; there are no timestamps"]
        return [table_plan(DelimitedFile(pairs), self.options)]

    def interactions(self) -> Iterator[Interactions]:
        """The pairs."""
        pairs = self._pairs()
        if pairs.suffix == ".tsv":
            yield from _sequences(pairs)
        else:
            yield from read_interactions(DelimitedFile(pairs), self.options)

    def items(self) -> Iterator[Items]:
        """The titles."""
        path = _titles(self.source)
        if path is None:
            return
        cells = header_of(path)
        header = (
            any(plain(cell) in ("title", "titles", "videoid") for cell in cells) or guess(cells, "item") is not None
        )
        file = DelimitedFile(path, header=header)
        if len(file.columns) != 2:
            raise ValueError(f"{path}, line 1: expected item and title, found {', '.join(file.columns)}")
        item, title = file.columns
        for columns, lines in file.batches([item, title]):
            yield Items(columns[item], {"title": columns[title]}, path, lines)

    def next_steps(self, dataset_dir: Path) -> list[str]:
        """The features of the covers."""
        covers = _covers(self.source)
        if covers is None:
            return []
        content = f"--dataset {dataset_dir} --modality visual --images {covers}"
        return [f"python -m recbole_mm extract {content} --encoder ENCODER"]

    def _pairs(self) -> Path:
        pairs = _pairs(self.source)
        if pairs is None:
            raise FileNotFoundError(f"there is no pairs.csv in {self.source}")
        return pairs


def _pairs(source: Path) -> Path | None:
    if not source.is_dir():
        return None
    for path in files_in(source, "*pairs.csv"):
        if [plain(cell) for cell in header_of(path)[:2]] == ["user", "item"]:
            return path
    for path in files_in(source, "*pairs.tsv"):
        if len((first_line(path) or "").split("\t")) == 2:
            return path
    return None


def _titles(source: Path) -> Path | None:
    there = files_in(source, "*title*.csv")
    return there[0] if there else None


def _covers(source: Path) -> Path | None:
    there = sorted(path for path in source.glob("*cover*") if path.is_dir() or not has_file(path))
    return there[0] if there else None


def _sequences(path: Path) -> Iterator[Interactions]:
    users: list[str] = []
    items: list[str] = []
    lines: list[int] = []
    for number, line in numbered_lines(path):
        if not line:
            continue
        user, tab, listed = line.partition("\t")
        if not tab or "\t" in listed:
            raise ValueError(f"{path}, line {number}: expected a user, a tab and items, found {line[:40]!r}")
        for item in listed.split():
            users.append(user)
            items.append(item)
            lines.append(number)
        if len(users) >= CHUNK_ROWS:
            yield Interactions(users, items, path, lines=lines)
            users, items, lines = [], [], []
    if users:
        yield Interactions(users, items, path, lines=lines)
