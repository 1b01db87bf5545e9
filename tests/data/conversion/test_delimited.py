"""Tables as text: each cell keeps its own text, and a line that is none is named."""

from __future__ import annotations

import gzip

import pytest

from recbole_mm.data.conversion.delimited import DelimitedFile


def rows(path, **options) -> list[list[str]]:
    file = DelimitedFile(path, **options)
    return [
        list(row)
        for cells, _ in file.batches(file.columns)
        for row in zip(*(cells[column] for column in file.columns), strict=True)
    ]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", b"user,item\nu1,i1\n", [["u1", "i1"]]),
        ("a.csv", b"\xef\xbb\xbfuser,item\r\nu1,i1\r\n\r\nu2,i2", [["u1", "i1"], ["u2", "i2"]]),
        ("a.csv", b'user,item\n"a, b",i1\n"say ""so""",i2\n', [["a, b", "i1"], ['say "so"', "i2"]]),
        ("a.csv", b'item,title\n1,"two\nlines"\n2,x\n', [["1", "two\nlines"], ["2", "x"]]),
        ("a.csv", b'item,title\n1,"a, b\nc, d"\n', [["1", "a, b\nc, d"]]),
        ("a.csv", b'i,t,x\n1,"a, b\nc, d",y\n2,"a, b",z\n', [["1", "a, b\nc, d", "y"], ["2", "a, b", "z"]]),
        ("a.csv", b'i;t;x\n1;"a; b\n\nc; d";y\n2;"""a""";z\n', [["1", "a; b\n\nc; d", "y"], ["2", '"a"', "z"]]),
        ("a.csv", b'item,title\n1,5" wide\n', [["1", '5" wide']]),
        ("a.csv", b"user;item\nu,1;i,1\n", [["u,1", "i,1"]]),
        ("a.csv", b"user\titem\nu1\ti1\n", [["u1", "i1"]]),
        ("a.csv", b"user,item\nNA,null\nnan,None\n", [["NA", "null"], ["nan", "None"]]),
        ("a.csv", b"user,item, x\n u1 ,007,\n", [[" u1 ", "007", ""]]),
        ("a.tsv", b'item\ttitle\n1\t"Crocodile" Dundee\n2\tb\n', [["1", '"Crocodile" Dundee'], ["2", "b"]]),
        ("a.tsv", b'item\ttitle\n1\t"lone\n2\tmark"\n3\tc\n', [["1", '"lone'], ["2", 'mark"'], ["3", "c"]]),
        ("a.tsv", b'item\ttitle\n1\t"""quoted"" by pandas"\n', [["1", '"quoted" by pandas']]),
        ("a.tsv", b'item\ttitle\tx\n1\t"two\nlines"\ty\n', [["1", "two\nlines", "y"]]),
        ("a.tsv", b'item\ttitle\n1\t5"\n', [["1", '5"']]),
        ("a.dat", b"user::item::rating\n1::2::5\n", [["1", "2", "5"]]),
        ("a.txt", b"user|item\n1|2\n", [["1", "2"]]),
    ],
)
def test_cells_keep_their_texts(tmp_path, name, content, expected):
    (tmp_path / name).write_bytes(content)
    assert rows(tmp_path / name) == expected
    packed = tmp_path / f"{name}.gz"
    packed.write_bytes(gzip.compress(content))
    assert rows(packed) == expected


def test_a_file_without_a_header(tmp_path):
    (tmp_path / "a.tsv").write_text("12\t7\t1.0\n12\t8\t1.0\n")
    assert DelimitedFile(tmp_path / "a.tsv").columns == ["1", "2", "3"]
    assert rows(tmp_path / "a.tsv") == [["12", "7", "1.0"], ["12", "8", "1.0"]]


def test_many_lone_marks_are_read(tmp_path):
    """Each might open a cell over lines; looking ahead must neither swallow rows nor take for ever."""
    lines = [f'{i}\t"lone {i}' for i in range(5000)]
    (tmp_path / "a.tsv").write_text("\n".join(["item\ttitle", *lines]))
    assert rows(tmp_path / "a.tsv") == [line.split("\t") for line in lines]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"user,item\nu1\n", "line 2: 1 cell where the first line has 2"),
        (b"user,item\nu1,i1\nu1,i1,3\n", "line 3: 3 cells where the first line has 2"),
        (b"user,item\nu1,i1\nu2,M\xfcller\n", "line 3, byte 20: not UTF-8 text"),
        ("user,item\nu1,i1\n".encode("utf-16"), "line 1, byte 0: this is UTF-16 text"),
        (b'user,item\nu1,i1\nu2,"open\nu3,i3\n', "line 3: a quotation mark is opened here"),
        (b'item,title\n1,"lone\n2,mark"\n3,c\n', "line 2: a quotation mark is opened here"),
        (b'i,t,x\n1,"a, b\nc, d",y\n2,5"" e,z\n', "line 2: a quotation mark is opened here"),
        (b'item,title\n1,"a" b\n', "line 2: a quotation mark is opened here"),
        (b"user,item,user\na,b,c\n", "line 1: the column 'user' is there twice"),
    ],
)
def test_a_bad_line_is_named(tmp_path, content, message):
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        rows(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_damaged_gzip_file_is_named(tmp_path):
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(b"user,item\n" + b"u1,i1\n" * 1000)[:-20])
    with pytest.raises(ValueError, match="a.csv.gz is no whole gzip file"):
        rows(path)
