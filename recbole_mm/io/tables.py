"""Reading atomic files and their like as tables of texts: one set of rules for every file and every command.

Two ways to write quotation marks are found. Files in RecBole's own form have none: a mark is a letter as any other.
What pandas and spreadsheets write has marks around a cell that holds a mark, a separator or a new line, and doubles the
marks within. A file is read in the second way where all its lines have as many cells as the header only so, or where
every cell with a mark has the form that pandas gives it. Words such as NA and null are texts.
"""

from __future__ import annotations

import csv
import io
import os
import re
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

from recbole_mm.io.counting import counted
from recbole_mm.io.first_line import check_separator
from recbole_mm.io.reading import decoded, open_regular

if TYPE_CHECKING:
    import pandas as pd

MARK = '"'
_QUOTED = re.compile(r'"(?:[^"]|"")*"')
_Rows = list[list[str]]


def read_table(
    path: str | os.PathLike[str], columns: list[str] | None = None, *, separator: str = "\t", encoding: str = "utf-8"
) -> pd.DataFrame:
    """All cells as texts, and the number of each row's line in the file as the index.

    Args:
        path: of a file whose first line names the columns; blank lines are left out.
        columns: the ones to read; None for all.
        separator: of the cells, one letter.
        encoding: of the file; a byte order mark is no part of the first cell.

    Raises:
        OSError: it is no regular file, or cannot be read.
        ValueError: it is no such table, a line has more or fewer cells than the first, or a column is not there; names
            file and line.
    """
    text = read_text_file(path, encoding)
    if not text.strip():
        raise ValueError(f"{path} is empty; its first line names its columns")
    check_letters(path, text)
    if len(separator) != 1:
        tab = ', such as a tab, "\\t" in double quotes' if separator == "\\t" else ""
        raise ValueError(f"{path}: '{separator}' separates no columns; set field_separator to one letter{tab}")
    check_separator(path, _first_line(text), separator)
    table = _split(text, separator) if MARK in text else _split_without_marks(text, separator)
    if isinstance(table, str):
        raise ValueError(f"{path}, {table}")
    first = _first_line(text)
    if all(is_marked(name) for name in first.split(separator)) and text.find(MARK, len(first)) < 0:
        check_marked_alike(path, next((cell for column in table for cell in table[column] if _is_bare(cell)), None))
    _check_names(path, list(table.columns), columns)
    _check_repeated_header(path, table)
    return table if columns is None else table[columns]


def _check_repeated_header(path: str | os.PathLike[str], table: pd.DataFrame) -> None:
    """Files that were joined have the first line again, whose names would be ids."""
    again = table.iloc[:, 0] == table.columns[0]
    if again.any() and all(":" in name for name in table.columns):
        again &= (table == list(table.columns)).all(axis=1)
        if again.any():
            raise ValueError(f"{path}, line {again.idxmax()}: the first line stands there again; delete it")


def check_marked_alike(path: str | os.PathLike[str], bare: str | None) -> None:
    """Raise ValueError for names of columns in quotation marks above a text without any, the first one.

    No program writes both, though some leave numbers bare: what marks mean in the rows nobody can say.
    """
    if bare is not None:
        raise ValueError(
            f"{path}, line 1: the names of the columns stand in quotation marks, and {bare[:40]!r} below does not; "
            "leave the marks out, or put all texts in them"
        )


def _is_bare(cell: str) -> bool:
    return bool(cell) and not reads_as_number(cell)


def check_letters(path: str | os.PathLike[str], text: str, first_line: int = 1) -> None:
    """Raise ValueError for a letter that no cell of lines has on purpose: it would make an id another one."""
    found = re.search("\x00|\r(?!\n)", text) if "\x00" in text or "\r" in text else None
    if found is not None:
        line = text.count("\n", 0, found.start()) + first_line
        if line == 1 and found[0] == "\x00":
            raise ValueError(f"{path} is no text, or of UTF-16: its first line holds a NUL; save it as text in UTF-8")
        what = "a NUL" if found[0] == "\x00" else "a carriage return that ends no line"
        raise ValueError(f"{path}, line {line}: {what}; delete it, or save the file with line feeds")


def read_text_file(path: str | os.PathLike[str], encoding: str = "utf-8") -> str:
    """The text of a file, without a byte order mark.

    Raises:
        OSError: it is no regular file, or cannot be read.
        ValueError: it has another encoding; names line and byte.
    """
    with open_regular(path) as file:
        content = file.read()
    return decoded(path, content, encoding).lstrip("\ufeff")


def header_of(path: str | os.PathLike[str], separator: str = "\t", encoding: str = "utf-8") -> list[str]:
    """The cells of the first line; raises as :func:`read_text_file`, and for a separator that is another one's."""
    with open_regular(path) as file:
        line = decoded(path, file.readline(), encoding).lstrip("\ufeff").rstrip("\r\n")
    check_separator(path, line, separator)
    return [unquoted(cell) for cell in line.split(separator)]


def _check_names(path: str | os.PathLike[str], names: list[str], wanted: list[str] | None) -> None:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"{path}, line 1: the column '{twice}' stands there twice; keep one")
    missing = [name for name in wanted or () if name not in names]
    if missing:
        raise ValueError(f"{path} has no column '{missing[0]}'; its first line is {', '.join(names)}")


def _split_without_marks(text: str, separator: str) -> pd.DataFrame | str:
    """The table, or what is wrong with a line: ``line 7: ...``."""
    import pandas as pd

    names = _first_line(text).split(separator)
    form = {"sep": separator, "header": None, "skiprows": 1, "names": range(len(names)), "index_col": False}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # of rows that are longer than the first line
            table = pd.read_csv(
                io.StringIO(text), **form, dtype=str, keep_default_na=False, quoting=csv.QUOTE_NONE, engine="c"
            )
    except pd.errors.EmptyDataError:
        return _frame([], names, [])
    except (pd.errors.ParserError, pd.errors.ParserWarning, ValueError):  # ValueError: a separator of several bytes
        return _split(text, separator)
    if text.count(separator) != (len(table) + 1) * (len(names) - 1):  # pandas fills up rows that are shorter
        return _split(text, separator)
    table.columns = names
    table.index = _lines_of_rows(text, len(table))
    return table


def _lines_of_rows(text: str, n_rows: int) -> range | list[int]:
    if text.rstrip("\r\n").count("\n") == n_rows:
        return range(2, n_rows + 2)
    return [number for number, line in enumerate(text.split("\n")[1:], start=2) if line.strip()][:n_rows]


def _split(text: str, separator: str) -> pd.DataFrame | str:
    """As :func:`_split_without_marks`, of any text."""
    names = _first_line(text).split(separator)
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    numbered = [(number, line.split(separator)) for number, line in enumerate(lines, start=1) if line.strip()]
    wrong = next(((number, cells) for number, cells in numbered if len(cells) != len(names)), None)
    if wrong is not None and MARK in text:
        by_pandas = _split_as_pandas(text, separator)
        if by_pandas is not None:
            return by_pandas
    if wrong is not None:
        number, cells = wrong
        n_cells, n_columns = counted(len(cells), "cell"), counted(len(names), "column")
        return f"line {number}: {n_cells} where the first line has {n_columns}; correct it"
    rows = [cells for _, cells in numbered]
    if MARK in text and all(_QUOTED.fullmatch(cell) for cells in rows for cell in cells if MARK in cell):
        rows = [[unquoted(cell) for cell in cells] for cells in rows]
    return _frame(rows[1:], rows[0], [number for number, _ in numbered[1:]])


def _split_as_pandas(text: str, separator: str) -> pd.DataFrame | None:
    """The table of a file with marks around cells, which may go over several lines; None where it is none."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows, lines, before = [], [], 0
    try:
        for cells in reader:
            if cells:
                rows.append(cells)
                lines.append(before + 1)
            before = reader.line_num
    except csv.Error:
        return None
    if any(len(cells) != len(rows[0]) for cells in rows):
        return None
    return _frame(rows[1:], rows[0], lines[1:])


def bad_value(words: list[str], is_number: Callable[[str], bool] | None = None) -> str:
    """Which value of a sequence is no number, and what to do; there is one."""
    is_number = is_number or reads_as_number
    place = next(place for place, word in enumerate(words) if not is_number(word))
    word = words[place]
    remedy = "correct it"
    if word[0] in "[(" or word[-1] in "])":
        remedy = "leave out the brackets, and write blanks between the values"
    elif any(mark in word and all(map(is_number, word.split(mark))) for mark in ",;|\t"):
        remedy = "write blanks between values, or set seq_separator; decimals have points"
    elif is_number(word.strip()):
        remedy = "delete the tab or blank beside it"
    elif " " in word and all(map(is_number, word.split())):
        remedy = "blanks separate the values, and seq_separator is set to another letter; leave that key out"
    return f"value {place + 1} is {word[:40]!r}, which is no number; {remedy}"


def reads_as_number(word: str) -> bool:
    """Whether a word of a text file is a number, as Python reads them, but for ``1_000``."""
    try:
        float(word)
    except ValueError:
        return False
    return "_" not in word


def is_marked(cell: str) -> bool:
    """Whether a cell stands in quotation marks, as pandas and spreadsheets write it."""
    return _QUOTED.fullmatch(cell) is not None


def unquoted(cell: str) -> str:
    """A cell without the marks around it and with the doubled ones within single; as it is where it has none."""
    return cell[1:-1].replace(MARK + MARK, MARK) if _QUOTED.fullmatch(cell) else cell


def unquoted_ids(ids: list[str]) -> list[str]:
    """Ids of a file's rows, whose other cells have no marks, by the rule of :func:`read_table`."""
    if all(_QUOTED.fullmatch(item) for item in ids if MARK in item):
        return [unquoted(item) for item in ids]
    return ids


def _first_line(text: str) -> str:
    end = text.find("\n")
    return (text if end < 0 else text[:end]).removesuffix("\r")


def _frame(rows: _Rows, names: list[str], lines: list[int]) -> pd.DataFrame:
    import pandas as pd

    table = pd.DataFrame(rows, columns=range(len(names)), index=lines, dtype=str)
    table.columns = names
    return table
