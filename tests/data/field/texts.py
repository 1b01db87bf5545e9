"""Kinds: ids, quotation marks, encodings, and lines of interactions."""

from __future__ import annotations

import gzip
from typing import Any

from tests.data.field.cases import HEADER, N_ITEMS, PAIRS, Case, counted, inter, items, titled, tokens, visual, whole
from tests.data.field.files import features, of_item

TITLES = {"load_col": {"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id", "title"]}}


def ids(what: str, names: list[str], outcome: str = "ids as any other, each with its own vector") -> Case:
    def check(dataset: Any, test: Any) -> None:
        assert sorted(tokens(dataset, "item_id")) == sorted(names) and dataset.inter_num == len(PAIRS)
        rows = dataset.modality_feature("visual")
        for number, name in enumerate(names):
            (place,) = (i for i in range(1, N_ITEMS + 1) if str(dataset.id2token("item_id", i)) == name)
            assert rows[place, 0] == number

    files = {"inter": inter(item=names.__getitem__), "visual": visual(item=names.__getitem__)}
    return Case(what, outcome, files, expect=check)


def users(what: str, names: list[str]) -> Case:
    def check(dataset: Any, test: Any) -> None:
        assert sorted(tokens(dataset, "user_id")) == sorted(names) and dataset.inter_num == len(PAIRS)

    return Case(what, "ids as any other", {"inter": inter(user=names.__getitem__), "visual": visual()}, expect=check)


def broken(what: str, outcome: str, content: str | bytes, **more) -> Case:
    return Case(what, f"shop.inter{outcome}", {"inter": content}, model="BPR", **more)


WORDS = ["NA", "null", "None", "nan", "N/A", "inf", "true", "-", "<NA>", "NaT", "#N/A", "undefined"]
IDS = [
    ids("`NA`, `null`, `nan`, `inf`, `true`, `<NA>` and the like as items", WORDS),
    users("the same as users", WORDS[:10]),
    ids("`1`, `01`, `1.0`, `+1`, `1e0` and the like", ["1", "01", "1.0", "+1", "1e0", "１", "0x1", "001", "10", "1_0", "٣",
                                                       "-1"]),
    ids("numbers of 30 digits", [f"{10**29 + number}" for number in range(N_ITEMS)]),
    ids("ids that differ in capitals, blanks or the composition of letters",
        ["a", "A", "a ", " a", "é", "e\u0301", "ß", "ss", "a\u00a0", "a b", "a  b", "\u200b"]),
    ids("slashes, points, signs and separators of other files",
        ["'", "\\", "/", "a/b", "..", "#1", "%", "$x", "a,b", "a;b", "a|b", "a:b"]),
    ids("letters that end lines in Unicode, and `[PAD]`",
        ["a\u2028b", "a\u0085b", "a\x0bb", "a\x0cb", "a\x1cb", "[PAD]", "🎬", "中文", "\ufeffx", "[]", "{}", "0"]),
    broken("an id of blanks", ", line 62: there is no user_id; correct or delete the line", inter(more=" \ti1\t3\n")),
    broken("no item id", ", line 62: there is no item_id; correct or delete the line", inter(more="u1\t\t3\n")),
    broken("a NUL in an id", ", line 62: a NUL; delete it, or save the file with line feeds", inter(more="u\x001\ti1\t3\n")),
]  # fmt: skip

PLAIN = [f"t{number}" for number in range(N_ITEMS)]


def marks(what: str, cells: list[str], outcome: str, **more) -> Case:
    expected = {f"i{number}": cell for number, cell in enumerate(more.pop("texts", cells))}
    return of_item(what, outcome, items(cells, **more), titled(expected), TITLES)


MARKS = [
    marks("raw: `\"a b`, `c\"`, `\"`, `5\" x`", ['"a b', 'c"', '"', '5" x'], "each item has its own text, marks are letters"),
    marks("raw: `\"a\" \"b\"` and `\"a\"\"b\"` among others", ['"a" "b"', '"a""b"', 'a "b" c', 'x"'], "the same"),
    marks("pandas' doubled marks", ['"a ""b"" c"', '"""d"""', '"5"" e"'], "the texts that pandas had",
          texts=['a "b" c', '"d"', '5" e']),
    marks("all cells in marks", [f'"t{number}"' for number in range(N_ITEMS)], "the texts without them", texts=PLAIN),
    marks("a tab and a mark within marks", ['"a\tb"', '"c ""d"""'], "the same", texts=["a\tb", 'c "d"']),
    marks("single quotes and typographic ones", ["'a b'", "„c“", "“d”", "«e»", "f''"], "letters as any other"),
    marks("doubled marks beside a lone one", ['"a ""b"" c"', '5" x'], "as it stands: a file has one convention"),
]  # fmt: skip

CODEC = "no utf-8 text ({}); save the file as UTF-8, or set encoding to the one it has"
ENCODINGS = [
    of_item("a byte order mark and CRLF", "each item has its own text", "\ufeff" + items([], end="\r\n"), titled({}), TITLES),
    of_item("two byte order marks", "the same", "\ufeff\ufeff" + items([]), titled({}), TITLES),
    of_item("blank lines between rows", "the same", items([]).replace("i3\t", "\n\r\n \ni3\t"), titled({}), TITLES),
    of_item("latin-1, with `encoding: latin-1`", "the same", items(["Käse"]).encode("latin-1"), titled({"i0": "Käse"}),
            {**TITLES, "encoding": "latin-1"}),
    of_item("latin-1", f", line 2, byte 5: {CODEC.format('invalid continuation byte')}", items(["Käse"]).encode("latin-1"),
            None, TITLES, described=False),
    of_item("cp1252", f", line 2, byte 4: {CODEC.format('invalid start byte')}", items(["„a“"]).encode("cp1252"), None,
            TITLES, described=False),
    of_item("GBK", f", line 2, byte 4: {CODEC.format('invalid continuation byte')}", items(["中文"]).encode("gbk"), None,
            TITLES, described=False),
    of_item("a letter that is cut in two", f", line 14, byte 1: {CODEC.format('unexpected end of data')}",
            items([]).encode() + "é".encode()[:1], None, TITLES, described=False),
    of_item("UTF-16", f", line 1, byte 1: {CODEC.format('invalid start byte')}", items([]).encode("utf-16"), None, TITLES),
    of_item("UTF-16 without its mark", " is no text, or of UTF-16: its first line holds a NUL; save it as text in UTF-8",
            items([]).encode("utf-16-le"), None, TITLES, described=False),
    of_item("packed by gzip", f", line 1, byte 2: {CODEC.format('invalid start byte')}", gzip.compress(items([]).encode()),
            None, TITLES),
    of_item("line ends of old Macintoshes",
            ", line 1: a carriage return that ends no line; delete it, or save the file with line feeds",
            items([], end="\r"), None, TITLES, described=False),
    features("latin-1 in a feature file", f"line 14, byte 1: {CODEC.format('invalid continuation byte')}",
             visual().encode() + "é\t1 2 3\n".encode("latin-1")),
    features("a NUL in a feature file", "line 14: a NUL; delete it, or save the file with line feeds",
             visual(more="i\x003\t1 2 3\n")),
]  # fmt: skip

INTERACTIONS = [
    Case("a byte order mark, CRLF", "as without", {"inter": "\ufeff" + inter(end="\r\n"), "visual": visual()}, expect=whole),
    Case("all cells in marks, as `csv.QUOTE_ALL` writes them", "as without",
         {"inter": "\n".join("\t".join(f'"{cell}"' for cell in line.split("\t")) for line in inter().splitlines()),
          "visual": visual()}, expect=whole),
    Case("names and texts in marks and numbers bare, as `csv.QUOTE_NONNUMERIC` and R write them", "as without",
         {"inter": inter(user='"u{}"'.format, item='"i{}"'.format, header="\t".join(f'"{name}"' for name in HEADER.split("\t"))),
          "visual": visual()}, expect=whole),
    Case("names in marks above numbers", "as without",
         {"inter": inter(user=str, item=str, header="\t".join(f'"{name}"' for name in HEADER.split("\t")))}, expect=counted,
         model="BPR"),
    broken("names in marks above texts without", ", line 1: the names of the columns stand in quotation marks, and 'u0' below "
           "does not; leave the marks out, or put all texts in them",
           inter(header="\t".join(f'"{name}"' for name in HEADER.split("\t")))),
    Case("columns in another order", "by their names",
         {"inter": "\n".join("\t".join(line.split("\t")[::-1]) for line in inter().splitlines()), "visual": visual()},
         expect=whole),
    Case("further columns that are not loaded", "left alone, whatever is in them",
         {"inter": inter(lambda u, k: "1\tx", header=f"{HEADER}\tnote:float"), "visual": visual()}, expect=whole),
    Case("an empty file", "shop.inter is empty; its first line names its columns", {"inter": ""}, model="BPR"),
    broken("its first line alone", " holds no interactions; fill it", HEADER + "\n"),
    broken("its first line again in the middle", ", line 62: the first line stands there again; delete it",
           inter(more=inter())),
    broken("a row of two cells", ", line 62: 2 cells where the first line has 3 columns; correct it", inter(more="u1\ti1\n")),
    broken("a row of four cells", ", line 62: 4 cells where the first line has 3 columns; correct it",
           inter(more="u1\ti1\t3\t4\n")),
    broken("ids of type float", ", line 1: 'item_id:float' holds ids, which are of type token; write item_id:token",
           inter(header=HEADER.replace("item_id:token", "item_id:float"), item=str), described=False),
]  # fmt: skip
