"""The one reader of tables: quotation marks of both conventions, words like NA, marks, lines, encodings."""

from __future__ import annotations

import csv
import io

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbole_mm.io.tables import header_of, read_table
from tests.fuzz.strategies import fuzz

HEADER = "item_id:token\ttitle:token_seq\tyear:float\n"


def read(tmp_path, content: str | bytes, **options) -> list[list[str]]:
    file = tmp_path / "table"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_table(file, **options).to_numpy().tolist()


def refused(tmp_path, content: str | bytes, **options) -> str:
    with pytest.raises(ValueError) as caught:
        read(tmp_path, content, **options)
    message = str(caught.value)
    assert "\n" not in message and str(tmp_path / "table") in message
    return message.split(str(tmp_path / "table"), 1)[1]


@pytest.mark.parametrize(
    "rows, titles",
    [
        (['a\t"Crocodile hunter\t1', 'b\tfilm red"\t2'], ['"Crocodile hunter', 'film red"']),  # would swallow a line
        (['a\t"Red" film\t1', "b\tfilm\t2"], ['"Red" film', "film"]),
        (['a\t6" nails\t1', 'b\t"quoted"\t2'], ['6" nails', '"quoted"']),  # marks are letters in this file
        (['a\t"say ""hi"" now"\t1', "b\tplain\t2"], ['say "hi" now', "plain"]),
        (['a\t"with\ttab"\t1', "b\tplain\t2"], ["with\ttab", "plain"]),
        (['a\t"two\nlines"\t1', "b\tplain\t2"], ["two\nlines", "plain"]),
        (['a\t""\t1', "b\tplain\t2"], ["", "plain"]),
        (["a\tNA\t1", "null\tNone\t2"], ["NA", "None"]),
        (["a\t  padded \t1", "", "b\tx\t2"], ["  padded ", "x"]),
    ],
)
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_each_item_keeps_its_own_text(tmp_path, rows, titles, ending, mark):
    content = (HEADER + "\n".join(rows) + "\n").replace("\n", ending)
    found = read(tmp_path, mark + content.encode())
    assert [row[1].replace("\r\n", "\n") for row in found] == titles
    assert [len(row) for row in found] == [3, 3]


@pytest.mark.parametrize(
    "rows, message",
    [
        (["a\tA\t1", "b\tB"], ", line 3: 2 cells where the first line has 3 columns"),
        (["a\tA\t1", "b\tB\t2\t3"], ", line 3: 4 cells where the first line has 3 columns"),
        (["a\tA\t1\t9", "b\tB\t2\t3"], ", line 2: 4 cells"),  # all rows are longer
        (["", "", "a\tA"], ", line 4: 2 cells"),
        (['a\t"A\t1', "b\tB"], ", line 3: 2 cells"),
        (['a\t"A\tB"\t1\t2'], ", line 2: 5 cells"),
    ],
)
def test_rows_of_another_length_are_named(tmp_path, rows, message):
    assert refused(tmp_path, HEADER + "\n".join(rows) + "\n").startswith(message)


@pytest.mark.parametrize("content", ["", "\n", "  \n\n", "\ufeff"])
def test_an_empty_file(tmp_path, content):
    assert refused(tmp_path, content) == " is empty; its first line names its columns"


def test_a_file_of_its_first_line_alone(tmp_path):
    assert read(tmp_path, HEADER) == []
    assert list(read_table(tmp_path / "table").columns) == HEADER.strip().split("\t")


def test_columns_that_stand_twice_or_are_not_there(tmp_path):
    assert refused(tmp_path, "a\tb\ta\n1\t2\t3\n") == ", line 1: the column 'a' stands there twice; keep one"
    assert refused(tmp_path, "a\tb\n1\t2\n", columns=["c"]) == " has no column 'c'; its first line is a, b"


@pytest.mark.parametrize(
    "content, options, message",
    [
        ("a\tb\nx\t\xe9\n".encode("latin-1"), {}, ", line 2, byte 3: no utf-8 text"),
        ("a\tb\n".encode("utf-16"), {}, ", line 1, byte 1: no utf-8 text"),
        (b"a\tb\n1\t2", {"encoding": "utf-16"}, ", line 2, byte 3: no utf-16 text"),
        (b"a\tb\n1\t2\n", {"encoding": "none"}, " is no none text"),
        (b"a\tb\n1\t2\n", {"separator": "xx"}, ": 'xx' separates no columns; set field_separator to one letter"),
    ],
)
def test_other_encodings_and_separators(tmp_path, content, options, message):
    assert refused(tmp_path, content, **options).startswith(message)


def test_other_encodings_that_are_told_of(tmp_path):
    assert read(tmp_path, "a;b\nx;\xe9\n".encode("latin-1"), encoding="latin-1", separator=";") == [["x", "\xe9"]]
    assert read(tmp_path, "a\u3001b\nx\u3001y\n", separator="\u3001") == [["x", "y"]]


def test_lines_are_numbered_as_they_stand_in_the_file(tmp_path):
    (tmp_path / "table").write_text("a\tb\n1\t2\n\n3\t4\n")
    assert list(read_table(tmp_path / "table").index) == [2, 4]
    (tmp_path / "table").write_text('a\tb\n1\t"2\n2"\n\n3\t4\n')
    assert list(read_table(tmp_path / "table").index) == [2, 5]


def test_a_quoted_first_line(tmp_path):
    (tmp_path / "table").write_text('"a:token"\t"b:float"\n"x"\t"1"\n')
    assert header_of(tmp_path / "table") == ["a:token", "b:float"]
    assert list(read_table(tmp_path / "table").columns) == ["a:token", "b:float"]


cells = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\r\0"), max_size=6)


@fuzz
@given(rows=st.lists(st.tuples(cells, cells), min_size=1, max_size=5))
def test_what_pandas_writes_comes_back(tmp_path, rows):
    """Cells that begin with a mark of their own, or hold one, included: pandas doubles it."""
    table = pd.DataFrame([("id", "x"), *rows], columns=["a", "b"])  # a row that is not blank
    text = io.StringIO()
    table.to_csv(text, sep="\t", index=False, quoting=csv.QUOTE_MINIMAL, lineterminator="\n")
    expected = [list(row) for row in table.to_numpy().tolist() if any(cell.strip() for cell in row)]
    found = read(tmp_path, text.getvalue())
    assert [row for row in found if any(cell.strip() for cell in row)] == expected


@fuzz
@given(rows=st.lists(st.tuples(cells, cells), min_size=1, max_size=5))
def test_raw_lines_come_back_as_they_stand(tmp_path, rows):
    """Where a mark stands in a cell that is not of pandas' form, marks are letters in the whole file."""
    rows = [[cell.replace("\t", " ").replace("\n", " ") for cell in row] for row in rows]
    rows = [['6" nails', "x"], *(row for row in rows if "\t".join(row).strip())]
    content = "a\tb\n" + "".join("\t".join(row) + "\n" for row in rows)
    assert read(tmp_path, content) == rows
