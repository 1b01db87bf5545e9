"""Tables as text: CSV, TSV and their like, with or without a header, read a chunk at a time.

Both conventions of quotation marks are met. A line without marks is split at its separators. A cell that is quoted as
RFC 4180 says (marks around it, those inside doubled) is unquoted, also over several lines. In files separated by tabs,
where many programs write texts raw, a mark that does not fit that form is a character like others; in CSV it is an
error with its line, since nobody can say where the cell ends. Lines with a mark each that may be a cell over all of
them, or a row each, are read as a cell where another line is a row only if its cells are quoted.
"""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from recbole_mm.data.conversion.columns import looks_like_header, positions
from recbole_mm.data.conversion.text_lines import numbered_lines
from recbole_mm.data.conversion.vectors import VECTORS, is_vector
from recbole_mm.io.counting import counted

SUFFIXES = (".csv", ".tsv", ".txt", ".dat", ".data")
SEPARATORS = ("\t", "::", ",", ";", "|")
CHUNK_ROWS = 100_000
PROBED_ROWS = 100  # among which a column's first text is looked for
MOST_LINES_OF_A_CELL = 1000

csv.field_size_limit(1 << 26)


def is_delimited(path: Path) -> bool:
    """Whether the name is that of a table as text, gzipped or not."""
    return Path(path.name.removesuffix(".gz")).suffix.lower() in SUFFIXES


class DelimitedFile:
    """A table as text.

    Attributes:
        path: the file.
        columns: names of the header; ``1``, ``2``, ... where the file has none.
        positions: what the columns are where there is no header.
        separator: between cells, the one of a first line ``sep=;`` where there is such a line.

    Raises:
        OSError: it is no regular file.
        ValueError: it is empty or no text; a column is named twice.
    """

    def __init__(
        self, path: Path, *, header: bool | None = None, named: tuple[str, ...] = (), separator: str | None = None
    ):
        """`header`: whether the first line is one, guessed where not given; `named`: columns that a user named."""
        self.path = path
        declared, start = _beginning(numbered_lines(path))
        if not start.strip():
            raise ValueError(f"{path} is empty; give a file with interactions or items")
        self._tells_separator = declared is not None
        self._quotes: bool | None = None
        self.separator = separator or declared or find_separator(path.name, start)
        _, cells = next(self._records(None))
        if header is None:
            header = looks_like_header(cells, named)
        self.has_header, self.positions = header, positions(cells)
        self.columns = [cell.strip() for cell in cells] if header else [str(i) for i in range(1, len(cells) + 1)]
        twice = next((column for column in self.columns if column and self.columns.count(column) > 1), None)
        if twice is not None:
            raise ValueError(f"{path}, line 1: the column {twice!r} is there twice; rename one")

    def vector_columns(self) -> dict[str, int]:
        """Columns of vectors: those of RecBole's type, and those whose first text is one; with 0 for a width."""
        typed = [column for column in self.columns if column.endswith(VECTORS)]
        cells, _ = next(self.batches(self.columns, PROBED_ROWS), ({}, []))
        firsts = {column: next(filter(None, texts), "") for column, texts in cells.items()}
        return dict.fromkeys([*typed, *(column for column, text in firsts.items() if is_vector(text))], 0)

    def batches(self, columns: list[str], n_rows: int = CHUNK_ROWS) -> Iterator[tuple[dict[str, list[str]], list[int]]]:
        """Cells of some columns, a chunk of rows at a time, with the numbers of their lines.

        Raises ValueError, with file and line, where a row has more or fewer cells than the first.
        """
        positions = [self.columns.index(column) for column in columns]
        records = self._records(len(self.columns))
        if self.has_header:
            next(records)
        while True:
            # by column, as a list kept for each row would keep the garbage collector busy
            cells_of: list[list[str]] = [[] for _ in columns]
            lines: list[int] = []
            for number, cells in islice(records, n_rows):
                lines.append(number)
                for column, position in zip(cells_of, positions, strict=True):
                    column.append(cells[position])
            if not lines:
                return
            yield dict(zip(columns, cells_of, strict=True)), lines

    def _records(self, width: int | None) -> Iterator[tuple[int, list[str]]]:
        """Cells of each record that is not blank, with the number of its first line."""
        lines = _Lines(self.path)
        if self._tells_separator:
            lines.take()
        while (numbered := lines.take()) is not None:
            number, line = numbered
            if not line:
                continue
            if '"' not in line or len(self.separator) > 1:
                cells = line.split(self.separator)
            else:
                cells = self._marked(number, line, lines, width)
            if width is not None and len(cells) != width:
                raise ValueError(
                    f"{self.path}, line {number}: {counted(len(cells), 'cell')} where the first line has {width}; "
                    "correct the line"
                )
            yield number, cells

    def _marked(self, number: int, line: str, lines: _Lines, width: int | None) -> list[str]:
        """Cells of a record with quotation marks."""
        quoted = self._parse(line)
        if quoted is not None and (width is None or len(quoted) == width):
            return quoted
        raw = line.split(self.separator) if self.separator == "\t" else None
        if raw is not None and len(raw) == width and self._is_row(lines.peek(), width):
            return raw
        if quoted is None:
            quoted = self._over_lines(line, lines, width)
        if quoted is None and raw is None:
            raise ValueError(
                f"{self.path}, line {number}: a quotation mark is opened here and does not end a cell; double the "
                "marks inside a cell, and put marks around it"
            )
        if quoted is not None and (raw is None or len(quoted) == width):
            return quoted
        return raw or []

    def _over_lines(self, line: str, lines: _Lines, width: int | None) -> list[str] | None:
        """Cells of a record that goes on in the next lines; None, with those given back, where it does not."""
        taken: list[tuple[int, str]] = []
        while len(taken) < MOST_LINES_OF_A_CELL and (following := lines.take()) is not None:
            taken.append(following)
            if '"' not in following[1]:
                continue
            cells = self._parse("\n".join([line, *(text for _, text in taken)]))
            if cells is None:
                continue
            # two lone marks that have met, rather than a cell's two ends, where each line is a row of its own
            rows = width is not None and all(self._is_row(numbered, width) for numbered in ((0, line), *taken))
            rows = rows and not (self.separator != "\t" and self._quotes_cells())
            if not rows and (width is None or len(cells) == width):
                return cells
            break
        lines.give_back(taken)
        return None

    def _quotes_cells(self) -> bool:
        """Whether some line has a cell that is quoted for the separator or the mark in it."""
        if self._quotes is None:
            self._quotes = any('"' in line and self._needs_quotes(line) for _, line in numbered_lines(self.path))
        return self._quotes

    def _needs_quotes(self, line: str) -> bool:
        cells = self._parse(line) or []
        marked = (cell.replace('"', '""') for cell in cells if '"' in cell or self.separator in cell)
        return len(cells) == len(self.columns) and any(f'"{cell}"' in line for cell in marked)

    def _is_row(self, line: tuple[int, str] | None, width: int | None) -> bool:
        return line is None or len(line[1].split(self.separator)) == width

    def _parse(self, text: str) -> list[str] | None:
        try:
            return next(csv.reader([part + "\n" for part in text.split("\n")], delimiter=self.separator, strict=True))
        except (csv.Error, StopIteration):
            return None


class _Lines:
    """Numbered lines of a file that can be given back."""

    def __init__(self, path: Path):
        self._rest = numbered_lines(path)
        self._returned: deque[tuple[int, str]] = deque()

    def take(self) -> tuple[int, str] | None:
        return self._returned.popleft() if self._returned else next(self._rest, None)

    def give_back(self, lines: list[tuple[int, str]]) -> None:
        self._returned.extendleft(reversed(lines))

    def peek(self) -> tuple[int, str] | None:
        line = self.take()
        if line is not None:
            self.give_back([line])
        return line


def _beginning(lines: Iterator[tuple[int, str]]) -> tuple[str | None, str]:
    """The separator of a first line ``sep=;``, which is for Excel, and the line with the names or first cells."""
    _, line = next(lines, (1, ""))
    match = re.fullmatch('"?sep=(.)"?[,;]*', line, re.IGNORECASE)
    return (match[1], next(lines, (2, ""))[1]) if match else (None, line)


def find_separator(name: str, line: str) -> str:
    """What separates the cells of a file, by its name and first line."""
    suffix = Path(name.removesuffix(".gz")).suffix.lower()
    usual = {".tsv": "\t", ".csv": ","}.get(suffix)
    if usual is not None and usual in line:
        return usual
    return max(SEPARATORS, key=lambda separator: line.count(separator) * len(separator))


def header_of(path: Path) -> list[str]:
    """Cells of the first line, without raising: to recognise a file by them."""
    try:
        declared, line = _beginning(numbered_lines(path))
    except (OSError, ValueError):
        return []
    return [cell.strip().strip('"') for cell in line.split(declared or find_separator(path.name, line))] if line else []
