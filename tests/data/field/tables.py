"""Kind: tables of interactions and items as spreadsheets and pandas write them, through `convert auto`."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

PAIRS = [("0", "0"), ("0", "2"), ("1", "1"), ("1", "0"), ("2", "2")]
PLAIN = {"inter": [["user_id:token", "item_id:token"], *map(list, PAIRS)]}
TITLED = {**PLAIN, "item": [["item_id:token", "title:token_seq"], ["0", "a"], ["1", "b"], ["2", "c"]]}


@dataclass(frozen=True)
class Table:
    """Files, and what becomes of them.

    Attributes:
        what, outcome: as of a case.
        content: of the table of interactions.
        expected: cells by suffix of a file, or of a modality; None where it is refused.
        items: of `--items`, where there is one.
        name: of the table of interactions.
        words: further options.
        said: what the command says of it.
        items_name: of the table of items.
        folder: files of the folder `raw`, which is converted instead of one table.
        file: the one of them that is given.
        layout: of the command.
    """

    what: str
    outcome: str
    content: bytes
    expected: dict[str, Any] | None = None
    items: bytes | None = None
    name: str = "r.csv"
    words: tuple[str, ...] = ()
    said: str = ""
    items_name: str = "i.csv"
    folder: dict[str, bytes] | None = None
    file: str = ""
    layout: str = "auto"


def csv(header: str, row: Callable[[str, str, int], str] = "{0},{1}".format, encoding: str = "utf-8", end: str = "\n") -> bytes:
    rows = [row(user, item, place) for place, (user, item) in enumerate(PAIRS)]
    return "".join(line + end for line in [header, *rows]).encode(encoding)


def parquet(frame: pd.DataFrame | pa.Table) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pandas(frame) if isinstance(frame, pd.DataFrame) else frame, file)
    return file.getvalue()


def with_column(name: str, cells: list[str]) -> dict[str, Any]:
    rows = [["user_id:token", "item_id:token", f"{name}:float"]]
    return {"inter": rows + [[*pair, cell] for pair, cell in zip(PAIRS, cells, strict=True)]}


FRAME = pd.DataFrame({"user_id": [int(u) for u, _ in PAIRS], "item_id": [int(i) for _, i in PAIRS]})
ITEMS = pd.DataFrame({"item_id": range(3), "title": list("abc")})
ITEMS_CSV = b"item_id,title\n0,a\n1,b\n2,c\n"
VECTORS = {"0": [0.5, 1.0], "1": [-1.5, 2.0], "2": [1e-3, 0.0]}


def of_frame(what: str, outcome: str, frame: Any, expected=None, items=None, **more: Any) -> Table:
    items = parquet(items) if isinstance(items, pd.DataFrame) else items
    items_name = "i.csv" if items is None or items == ITEMS_CSV else "i.parquet"
    return Table(what, outcome, parquet(frame), expected, items, "r.parquet", items_name=items_name, **more)


def with_items(what: str, outcome: str, items: str, expected=None, **more: Any) -> Table:
    return Table(what, outcome, csv("user_id,item_id"), expected, items.encode(), **more)


def times(what: str, outcome: str, cells: list[str], expected: list[str] | None = None) -> Table:
    content = csv("user,item,time", lambda user, item, place: f"{user},{item},{cells[place]}")
    return Table(what, outcome, content, expected and with_column("timestamp", expected))


DAY = 1717113600
NANOS = [f"{DAY}.00000000{place}" for place in range(5)]
NOT_THE_SAME = "(first: {!r}) is of an item of the interactions (first: {!r}); write ids alike in all files"
TABLES = [
    Table("a spreadsheet's semicolons, byte order mark and CRLF", "read", csv("\ufeffKunde;Artikel", "{0};{1}".format, end="\r\n"), PLAIN),
    Table("separators at the ends of lines", "read", csv("user,item,", "{0},{1},".format), PLAIN, said="not read: one without a name"),
    Table("the index of pandas as first column", "read", csv(",user,item", "{2},{0},{1}".format), PLAIN, said="not read: one without a name"),
    Table("a shop's bills (CustomerID, StockCode, InvoiceDate)", "read", csv("InvoiceNo,StockCode,InvoiceDate,CustomerID", f"{{2}},{{1}},{DAY},{{0}}".format), with_column("timestamp", [str(DAY)] * 5)),
    Table("Kundennr., Artikelnr. und Bestelldatum", "read", csv("Kundennr.;Artikelnr.;Bestelldatum", f"{{0}};{{1}};{DAY}".format), with_column("timestamp", [str(DAY)] * 5)),
    with_items("texts over several lines, with as many commas as a row has", "read", 'item_id,title\n0,"a\nc, d"\n1,"e, f"\n2,"g\nh, i"\n',
               {**PLAIN, "item": [TITLED["item"][0], ["0", "a c, d"], ["1", "e, f"], ["2", "g h, i"]]}),
    Table("columns of other names, named", "read", csv("a,b"), PLAIN, words=("--user", "a", "--item", "b")),
    Table("columns of other names", "r.csv, line 1: no column looks like the user and the item; found a, b: say which they are with --user COLUMN --item COLUMN, of a file without a header by their places, such as --user 1 --item 2", csv("a,b")),
    Table("Excel's line `sep=;`, marks, a byte order mark", "read", csv('\ufeff"sep=;"\r\nuser;item', "{0};{1}".format, end="\r\n"), PLAIN),
    Table("`sep=,` above tabs", "r.csv, line 1: no column looks like the user and the item; found user\\titem: separate the columns by commas, semicolons or tabs", csv("sep=,\nuser\titem", "{0}\t{1}".format)),
    Table("two columns without a name", "read", csv(",user,item,", "{2},{0},{1},".format), PLAIN, said="not read: one without a name, one without a name"),
    Table("ids that a spreadsheet has rounded", "kept, and told", csv("user,item", "{0},9.78014E+12".format), {"inter": [PLAIN["inter"][0], *([user, "9.78014E+12"] for user, _ in PAIRS)]},
          said="a spreadsheet seems to have rounded 1 item id, such as '9.78014E+12', so that several may have become one"),
    Table("UTF-16 without its mark", "r.csv, line 1, byte 1: a NUL, as in UTF-16 text; save the file as UTF-8", csv("user,item", encoding="utf-16-le")),
    Table("line ends of old Macintoshes", "r.csv, line 1: a carriage return that ends no line; save the file with line feeds", csv("user,item", end="\r")),
    Table("an Excel file called CSV", "r.csv is no text but an Excel file or an archive; save the table as CSV, in UTF-8, or unpack it", b"PK\x03\x04\x14\x00\x06\x00"),
    Table("a page that says that there is no such file", "r.csv is no text but an HTML page; download the file itself", b"<!DOCTYPE html>\n<html>\n"),
    Table("a pointer of Git LFS", "r.csv is no text but a pointer of Git LFS; fetch the file itself with git lfs pull", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n"),
    Table("blanks between cells", "r.txt, line 1: no column looks like the user and the item; found user item: separate the columns by commas, semicolons or tabs", csv("user item", "{0} {1}".format), name="r.txt"),
    Table("a database", "r.sqlite is in no layout that can be converted; save the table as CSV, in UTF-8, or Parquet", b"SQLite format 3\0", name="r.sqlite"),
    Table("a row of sums below", "r.csv, line 7: the item id is empty; fill it, or delete the row", csv("user,item") + b"Total,\n"),
    Table("`\\N` of a database", "r.csv, line 2: the rating is '\\\\N', which is no number; correct it, or leave the column out with --rating none", csv("user,item,rating", "{0},{1},\\N".format)),
    Table("commas between thousands", "r.csv, line 2: the rating is '1,000', which is no number; decimals have points", csv("user,item,rating", '{0},{1},"1,000"'.format)),
    times("dates as Amazon's reviewTime", "seconds since 1970", [f'"05 3{n % 2}, 2014"' for n in range(5)], [str(1401408000 + 86400 * (n % 2)) for n in range(5)]),
    times("dates with a month first", "r.csv, line 2: the time is '5/31/2024', neither a number nor a date as 2024-05-31 10:00:00; write it so, or leave the column out with --time none", 5 * ["5/31/2024"]),
    times("a gap among dates", "r.csv, line 4: the time is missing; fill it, delete the row, or leave the column out with --time none", ["2024-05-31"] * 2 + [""] + ["2024-05-31"] * 2),
    times("days as eight digits", "numbers, in their order", [f"2020070{n}" for n in range(5)], [f"2020070{n}" for n in range(5)]),
    Table("decimal commas", "r.csv, line 2: the rating is '4,5', which is no number; decimals have points", csv("user;item;rating", "{0};{1};4,5".format)),
    Table("empty rows of a spreadsheet", "r.csv, line 7: the user id is empty; fill it, or delete the row", csv("user;item", "{0};{1}".format) + b";\n"),
    Table("cp1252", "r.csv, line 2, byte 10: not UTF-8 text (invalid start byte); save the file as UTF-8", csv("user,item", "\xfc{0},{1}".format, "cp1252")),
    Table("UTF-16", "r.csv, line 1, byte 0: this is UTF-16 text; save the file as UTF-8", csv("user,item", encoding="utf-16")),
    Table("an Excel file", "r.xlsx is in no layout that can be converted; save the table as CSV, in UTF-8, or Parquet", b"PK", name="r.xlsx"),
    Table("an empty file", "r.csv is empty; give a file with interactions or items", b""),
    Table("blanks around ids", "kept, and told where the ids are others' without", csv("user,item", lambda user, item, place: f"{user},{item}{' ' * (place == 3)}"),
          {"inter": [*PLAIN["inter"][:4], ["1", "0 "], ["2", "2"]]}, said="1 item id is another but for blanks around or how accents are composed, such as '0 '; they stay apart"),
    times("dates with time zones", "seconds since 1970", [f"2024-05-31T0{place}:00:00+02:00" for place in range(5)], [str(DAY - 7200 + 3600 * place) for place in range(5)]),
    times("dates to a nanosecond", "decimals of seconds, none lost", [f"2024-05-31 00:00:00.00000000{place}" for place in range(5)], [NANOS[0].rstrip("0").rstrip("."), *NANOS[1:]]),
    times("time zones in some rows", "r.csv, line 3: the time is '2024-05-31T00:00:00Z', with a time zone where those before are without; write all alike", ["2024-05-31", "2024-05-31T00:00:00Z"] + 3 * ["2024-05-31"]),
    times("dates with points, the day first", "seconds since 1970", 5 * ["31.05.2024"], [str(DAY)] * 5),
    times("the same to a minute, and not filled up", "seconds since 1970", [f"1.6.2024 0:0{n}" for n in range(5)], [str(DAY + 86400 + 60 * n) for n in range(5)]),
    times("the same to a second", "seconds since 1970", [f"31.05.2024 00:00:0{n}" for n in range(5)], [str(DAY + n) for n in range(5)]),
    times("dates with points, one with the month first", "r.csv, line 4: the time is '05.31.2024', no date as '31.05.2024'", ["31.05.2024"] * 2 + ["05.31.2024"] * 3),
    with_items("items of which some have no interactions, and the reverse", "those with interactions", "item_id,title\n2,c\n9,x\n", {**PLAIN, "item": [["item_id:token", "title:token_seq"], ["2", "c"]]}),
    with_items("ids in the table of items with blanks around", "left out, and told", "item_id,title\n 0,x\n1,b\n2,c\n", {**PLAIN, "item": TITLED["item"][:1] + TITLED["item"][2:]}, said="1 i.csv: item id is another but for blanks around or how accents are composed, such as ' 0'; they stay apart"),
    Table("accents composed in another way in the table of items", "left out, and told", csv("user,item", "{0},\xe4{1}".format), {"inter": [PLAIN["inter"][0], *([user, f"\xe4{item}"] for user, item in PAIRS)], "item": [TITLED["item"][0], ["\xe41", "b"]]},
          "item,title\na\u03080,a\n\xe41,b\n".encode(), said="such as 'a\u03080'; they stay apart"),
    Table("an archive", "r.zip is an archive; unpack it, and give the folder", b"PK", name="r.zip"),
    with_items("`0.0` in the table of items", "i.csv: none of its 3 rows " + NOT_THE_SAME.format("0.0", "0"), "item_id,title\n0.0,a\n1.0,b\n2.0,c\n"),
    with_items("leading zeros in the table of items", "i.csv: none of its 3 rows " + NOT_THE_SAME.format("00", "0"), "item_id,title\n00,a\n01,b\n02,c\n"),
    with_items("the index of pandas in the table of items", "no text of it", ",item_id,title\n7,0,a\n8,1,b\n9,2,c\n", TITLED),
    with_items("lists of decimals in a column of items", "a modality of its name", 'item_id,taste\n0,"[0.5, 1.0]"\n1,"[-1.5, 2]"\n2,"[1e-3, 0]"\n', {**PLAIN, "taste": VECTORS}),
    with_items("arrays as NumPy prints them", "a modality of its name", "item_id,taste\n0,[0.5 1. ]\n1,[-1.5  2. ]\n2,\n", {**PLAIN, "taste": dict(list(VECTORS.items())[:2])}),
    with_items("vectors of RecBole's type", "a modality of its name", "item_id:token,taste:float_seq\n0,0.5 1\n1,-1.5 2\n2,1e-3 0\n", {**PLAIN, "taste": VECTORS}),
    with_items("a long array as NumPy prints it", "i.csv, line 3: the vector in 'taste' has '...', which NumPy prints for what it leaves out; save all", "item_id,taste\n0,[0.5 1.]\n1,[1. ... 2.]\n"),
    with_items("lists of whole numbers", "texts", 'item_id,tags\n0,"[3, 4]"\n', {**PLAIN, "item": [["item_id:token", "tags:token_seq"], ["0", "[3, 4]"]]}),
    with_items("a column for each value of a vector", "i.csv: 9 columns f1, f2, ... seem to be the values of vectors; make one column of lists, or an array, numpy.save('FILE.npy', ...), and a modality of it with recbole-mm convert npy",
               "item_id," + ",".join(f"f{k}" for k in range(9)) + "\n0" + 9 * ",1" + "\n"),
    of_frame("Parquet with users as the index of pandas", "read", FRAME.set_index("user_id"), PLAIN),
    of_frame("items as an index of consecutive numbers, which is in no column", "read", FRAME, TITLED, ITEMS.set_index("item_id")),
    of_frame("an index without a name", "no text of it", FRAME, TITLED, ITEMS.set_index(pd.Index([7, 8, 9]))),
    of_frame("whole numbers that may be missing, and categories", "read", FRAME.astype({"user_id": "Int64", "item_id": "category"}), TITLED, ITEMS_CSV),
    of_frame("ids of type decimal", "read", pa.table({"user_id": pa.array([Decimal(u) for u, _ in PAIRS]), "item_id": [i for _, i in PAIRS]}), PLAIN),
    of_frame("ratings of type decimal", "the numbers", pa.table({**FRAME, "rating": [Decimal("4.50")] * 5}), with_column("rating", 5 * ["4.50"])),
    of_frame("ids of type float", "r.parquet, row 1: the item ids are double; ids are texts or integers: cast the column", FRAME.astype({"item_id": float})),
    of_frame("an id that is missing", "r.parquet, row 3: the item id is missing; fill it, or delete the row", FRAME.assign(item_id=pd.array([0, 2, None, 0, 2], dtype="Int64"))),
    of_frame("times of nanoseconds", "decimals of seconds, none lost", FRAME.assign(time=pd.to_datetime([DAY * 10**9 + place for place in range(5)])), with_column("timestamp", [str(DAY), *NANOS[1:]])),
    of_frame("durations as times", "r.parquet, row 1: the time is duration[ns], which is no number; cast the column", FRAME.assign(time=pd.to_timedelta(range(5), unit="ns"))),
    of_frame("vectors with a gap", "i.parquet, row 2: the vector in 'v' has a gap; fill it, or leave the cell empty", FRAME, items=ITEMS.assign(v=[[0.5, 1], [None, 1.0], [2.0, 3]])),
    of_frame("vectors of other lengths", "i.parquet, row 3: 1 value in 'v' where others have 2", FRAME, items=ITEMS.assign(v=[[0.5, 1], [2.0, 1], [2.0]])),
]  # fmt: skip
