"""Kinds: feature files, their names, and the `.item`."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from tests.data.field.cases import (
    LOADED,
    N_ITEMS,
    Case,
    inter,
    items,
    visual,
    whole,
)

EVERYTHING: dict[str, Any] = {"load_col": None}


def features(what: str, outcome: str, content: str | bytes, expect=None, **more) -> Case:
    outcome = outcome if expect else f"shop.visual, {outcome}"
    return Case(what, outcome, {"inter": inter(), "visual": content}, expect=expect, **more)


def _header(found: str) -> str:
    return f"line 1: the header must be 'item_id:token\\t<name>:float_seq', found {found!r}"


def _value(text: str, line: int, place: int, remedy: str = "correct it") -> str:
    return f"line {line}: value {place} is {text!r}, which is no number; {remedy}"


FOURTH: Callable[[str], Callable[[int], str]] = lambda cell: lambda item: cell if item == 4 else f"{item} 1 2"  # noqa: E731
BLANKS = "write blanks between values, or set seq_separator; decimals have points"
BRACKETS = "leave out the brackets, and write blanks between the values"
FEATURES = [
    features("a byte order mark", "each item has its own vector", "\ufeff" + visual(), whole),
    features("CRLF, and no end of the last line", "the same", visual(end="\r\n").removesuffix("\r\n"), whole),
    features("blanks around values, and doubled ones", "the same", visual(lambda item: f" {item}  1 2 "), whole),
    features("marks around all cells", "the same",
             visual(lambda item: f'"{item} 1 2"', item='"i{}"'.format,
                    header='"item_id:token"\t"v:float_seq"'), whole),
    features("marks around the names alone", "line 1: the names of the columns stand in quotation marks, and 'i0' below does not; "
             "leave the marks out, or put all texts in them", visual(header='"item_id:token"\t"v:float_seq"')),
    features("a row that stands there twice", "the same", visual(more="i3\t3 0 0.25\n"), whole),
    features("rows of further items", "left out, as they have no interactions", visual(more="i99\t99 0 0.25\n"), whole),
    features("another name of the id column", _header("ITEM_ID:token\tv:float_seq") +
             "; if 'ITEM_ID' is the column of item ids, set ITEM_ID_FIELD: ITEM_ID",
             visual(header="ITEM_ID:token\tv:float_seq")),
    features("a blank line, then the header", _header(""), "\n" + visual()),
    features("a comment, then the header", _header("# features"), "# features\n" + visual()),
    features("a column for each value", _header("item_id:token\ta:float\tb:float"),
             visual(lambda item: "1\t2", header="item_id:token\ta:float\tb:float")),
    features("vector first, id second", _header("v:float_seq\titem_id:token"),
             visual(header="v:float_seq\titem_id:token")),
    features("values separated by commas", _value("0,0,0.25", 2, 1, BLANKS), visual(lambda item: f"{item},{item},0.25")),
    features("decimal commas", _value("0,5", 2, 2, BLANKS), visual(lambda item: f"{item} 0,5")),
    features("lists as Python prints them", _value("[0,", 2, 1, BRACKETS), visual(lambda item: f"[{item}, 1, 2]")),
    features("arrays as NumPy prints them", _value("[0", 2, 1, BRACKETS), visual(lambda item: f"[{item} 1 2]")),
    features("tabs between values", _value("0\t1\t2", 2, 1, BLANKS), visual(lambda item: f"{item}\t1\t2")),
    features("a tab at the end of each line", _value("2\t", 2, 3, "delete the tab or blank beside it"),
             visual(lambda item: f"{item} 1 2\t")),
    features("a word", _value("x", 6, 2), visual(FOURTH("1 x 2"))),
    features("a value in base 16", _value("0x10", 6, 2), visual(FOURTH("1 0x10 2"))),
    features("fewer values in one row", "line 6: 2 values where line 2 has 3; every line needs the same number",
             visual(FOURTH("1 2"))),
    features("no values in one row", "line 6: no values; leave out the line of an item without features",
             visual(FOURTH(""))),
    features("`nan`", "line 6: item 'i4' holds a value that is not finite as float32; correct it, or delete the line",
             visual(FOURTH("1 nan 2")), described=False),
    features("`1e39`, which float32 cannot hold",
             "line 6: item 'i4' holds a value that is not finite as float32; correct it, or delete the line",
             visual(FOURTH("1 1e39 2")), described=False),
    features("a row without separator", "line 14: expected an item id, '\\t' and the values, found 'i3 1 2 3\\n'",
             visual(more="i3 1 2 3\n")),
    Case("two rows of one item that differ",
         "shop.visual: item 'i3' has different features in line 5 and line 14; keep one of them",
         {"inter": inter(), "visual": visual(more="i3\t9 9 9\n")}),
    Case("no rows", "shop.visual holds no rows under its header; fill it, or delete it",
         {"inter": inter(), "visual": "item_id:token\tv:float_seq\n"}),
    Case("ids of another data set", "shop.visual: none of its 12 item ids (first: '0.0') occurs in the interactions of "
         "'shop' (first: 'i0'); are these ids of another data set?",
         {"inter": inter(), "visual": visual(item="{}.0".format)}, described=False),
]  # fmt: skip


def modality(name: str) -> Callable[[Any, Any], None]:
    def check(dataset: Any, test: Any) -> None:
        assert dataset.modalities == [name]
        rows = dataset.modality_feature(name)
        for number in range(1, dataset.item_num):
            assert rows[number, 0] == float(dataset.id2token("item_id", number)[1:])

    return check


def beside(name: str, outcome: str = "", expect=None, content: str | bytes | None = None) -> Case:
    content = visual() if content is None else content
    return Case(f"`shop.{name}`", outcome or f"shop.{name}", {"inter": inter(), name: content}, expect=expect)


ARRAY = "no run reads .{}; make a modality of it with recbole-mm convert npy, or move it away"
UNPACK = "no run reads .{}; unpack it, or move it away"
TEXT = "holds vectors, and no run reads .{}; name it shop.visual, separated by tabs, or move it away"
FILE_NAMES = [
    beside("itememb", "a modality itememb", modality("itememb")),
    beside("clip_large", "a modality clip_large", modality("clip_large")),
    beside("visual.txt", f"shop.visual.txt {TEXT.format('txt')}"),
    beside("visual.csv", f"shop.visual.csv {TEXT.format('csv')}", content=visual(separator=",")),
    beside("visual.tsv", f"shop.visual.tsv {TEXT.format('tsv')}"),
    beside("visual.npy", f"shop.visual.npy: {ARRAY.format('npy')}"),
    beside("image_feat.npy", f"shop.image_feat.npy: {ARRAY.format('npy')}"),
    beside("visual.pt", f"shop.visual.pt: {ARRAY.format('pt')}"),
    beside("visual.hdf5", f"shop.visual.hdf5: {ARRAY.format('hdf5')}"),
    beside("visual.feather", f"shop.visual.feather: {ARRAY.format('feather')}"),
    beside("visual.json", f"shop.visual.json: {ARRAY.format('json')}"),
    beside("visual.xlsx", f"shop.visual.xlsx: {ARRAY.format('xlsx')}"),
    beside("visual.NPY", f"shop.visual.NPY: {ARRAY.format('NPY')}"),
    beside("visual.gz", f"shop.visual.gz: {UNPACK.format('gz')}"),
    beside("image_feat.npy.gz", f"shop.image_feat.npy.gz: {UNPACK.format('npy.gz')}"),
    beside("textual.zip", f"shop.textual.zip: {UNPACK.format('zip')}"),
    beside("visual.v2", f"shop.visual.v2 {TEXT.format('v2')}"),
    beside("visual.old", f"shop.visual.old {TEXT.format('old')}"),
    beside("visual~", "shop.visual~ is an editor's copy, which would be a modality; delete or move it"),
    beside("visual", "shop.visual, line 1, byte 1: no utf-8 text (invalid start byte); save the file as UTF-8, or set "
           "encoding to the one it has", content=b"\x93NUMPY" + bytes(100)),
]  # fmt: skip


def loose(name: str, outcome: str = "", content: str | bytes | None = None, **more: str | bytes) -> Case:
    """A file that does not begin with the data set's name; left alone where no outcome is given."""
    content = visual() if content is None else content
    files = {"inter": inter(), "textual": visual(), f"/{name}": content, **more}
    return Case(f"`{name}`", outcome and f"{name} holds features that no run reads under this name; {outcome}, or move it "
                "away" or "left alone", files, expect=None if outcome else modality("textual"))  # fmt: skip


def array(rows: int, columns: int = 2, kind: Any = float) -> bytes:
    stored = io.BytesIO()
    np.save(stored, np.ones((rows, columns) if columns else rows, kind))
    return stored.getvalue()


def unused(name: str, reason: str, content: bytes) -> Case:
    """An array that is no features, as its numbers or name say: the log names it."""
    return replace(loose(name, content=content), outcome=f"left alone; the log and `describe` say so ({reason})")


CONVERT = "make a modality of it with recbole-mm convert npy"
LOOSE = [
    loose("image_feat.npy", CONVERT, array(20)),
    loose("visual.npy", CONVERT, array(12)),
    loose("features.npy", CONVERT, array(12)),
    loose("vit.npy", CONVERT, array(13)),
    loose("visual_emb.pt", CONVERT, b"PK"),
    loose("image_features.h5", CONVERT, b""),
    loose("image_feat.npy.gz", "unpack it", b"\x1f\x8b"),
    loose("features.feather", CONVERT, b"ARROW1"),
    loose("features.ftr", CONVERT, b"ARROW1"),
    loose("image_feat.json", CONVERT, "{}"),
    loose("image_embeddings.jsonl", CONVERT, ""),
    loose("image_feat.xlsx", CONVERT, b"PK"),
    loose("visual.pkl", CONVERT, b""),
    loose("visual.npy.zst", "unpack it", b""),
    loose("visual.csv", CONVERT, "item_id,a,b,c\ni0,1,0.5,-2\n"),
    loose("image_vectors.csv", CONVERT, "i0;1;0.5;-2\ni1;1;0.5;-2\n"),
    loose("embeddings.txt", CONVERT, "12 3\ni0 1 0.5 -2\n"),
    loose("pictures.zip", content=b"PK"),
    loose("visual", "name it shop.visual"),
    loose("toys.visual", "name it shop.visual"),
    loose("shop_visual", "name it shop.shop_visual"),
    loose("toys.image_emb", "name it shop.visual"),
    loose("features.csv", "name it shop.features, separated by tabs", visual(separator=",")),
    loose("visual.tsv", "name it shop.visual, separated by tabs"),
    loose("text_feat.npy", content=array(20)),
    loose("user_ages.npy", content=array(10)),
    unused("bought_together.npy", "as many columns as rows", array(12, 12)),
    unused("views_by_month.npy", "its values are whole numbers", array(12, 3, int)),
    unused("is_new.npy", "its values are whole numbers", array(12, 1, bool)),
    unused("user_emb.npy", "its name is not one of items", array(12, 4)),
    loose("resnet50.npy", CONVERT, array(12, 8)),
    loose("votes.npy", content=array(9, 3)),
    loose("image_features_int8.npy", CONVERT, array(12, 3, "i1")),
    loose("image_ids.npy", content=array(12, 0)),
    loose("image_urls.pkl", content=b""),
    loose("products.csv", content="item_id,title,price\ni0,a b,3\ni1,c d,4\n"),
    loose("months.csv", content="item_id,a,b,c\ni0,1,0.5,-2\n"),
    loose("texts.json", content="{}"),
    loose("ratings.csv", content="user,item,rating\nu0,i1,3\n"),
    loose("README.md", content="# Vectors of items\n"),
    loose("shop.inter.bak", content=inter()),
    loose("visual.jpg", content=b"\xff\xd8\xff"),
]


def of_item(what: str, outcome: str, content: str | bytes, expect=None, settings=EVERYTHING, **more) -> Case:
    return Case(what, outcome if expect else f"shop.item{outcome}",
                {"inter": inter(), "visual": visual(), "item": content}, settings, expect, **more)  # fmt: skip


def _poster(dataset: Any, test: Any) -> None:
    assert dataset.modalities == ["visual", "poster"]
    rows = dataset.modality_feature("poster")
    for number in range(1, dataset.item_num):
        assert rows[number].tolist() == [float(dataset.id2token("item_id", number)[1:]), 0.5]


def _prices(dataset: Any, test: Any) -> None:
    table = dataset.item_feat
    found = {dataset.id2token("item_id", int(item)): float(price)
             for item, price in zip(table["item_id"], table["price"], strict=True)}  # fmt: skip
    assert found["i0"] == 2.5 and found["i1"] == -3 and found["i3"] == 1000


POSTERS = "item_id:token\tposter:float_seq"
ITEM_FILES = [
    of_item("a column of vectors", "a modality of its name",
            items([f"{number} 0.5" for number in range(N_ITEMS)], POSTERS), _poster),
    of_item("numbers with signs, exponents and blanks", "the numbers",
            items(["2.5", "-3", "1e3", "  1000 "] + ["1"] * 8, "item_id:token\tprice:float"), _prices),
    of_item("vectors separated by commas", f", line 2: {_value('0,5', 2, 1, BLANKS)[8:]}",
            items(["0,5"] * 12, POSTERS), settings=LOADED),
    of_item("a vector of another length", ", line 5: 3 values where line 2 has 2; every line needs the same number",
            items(["1 2"] * 3 + ["1 2 3"] + ["1 2"] * 8, POSTERS)),
    of_item("a column of vectors called as a feature file",
            " has a column visual, and shop.visual is a file beside it; keep one",
            items(["1 2"] * 12, "item_id:token\tvisual:float_seq")),
    of_item("another name of the id column", ", line 1: there is no column 'item_id' of the ids (ITEM_ID_FIELD), but "
            "asin, title; rename the one that is meant, or leave the file out of load_col",
            items([], "asin:token\ttitle:token_seq"), described=False),
    of_item("two rows of one item that differ", ", line 14: item_id 'i3' has another row in line 5; keep one of them",
            items([], more="i3\tother\n"), described=False),
    of_item("a row without id", ", line 14: there is no item_id; correct or delete the line",
            items([], more="\tother\n"), described=False),
    of_item("`cheap` in a column of numbers", ", line 4, column price: 'cheap' is no finite number; correct it",
            items(["1", "2", "cheap"] + ["1"] * 9, "item_id:token\tprice:float"), described=False),
    of_item("`$3` in a column of numbers", ", line 2, column price: '$3' is no finite number; correct it",
            items(["$3"] * 12, "item_id:token\tprice:float"), described=False),
    of_item("decimal commas", ", line 2, column price: '1,5' is no finite number; correct it",
            items(["1,5"] * 12, "item_id:token\tprice:float"), described=False),
    of_item("a number that float32 cannot hold", ", line 2, column price: '1e39' is above 3.4e+38, the largest number "
            "that models compute with; correct or rescale it",
            items(["1e39"] + ["1"] * 11, "item_id:token\tprice:float"), described=False),
    of_item("an unknown type", ", line 1: 'str' of the column 'title:str' is no type; it begins with the columns as "
            "name:type, such as user_id:token, with one of token, float, token_seq, float_seq",
            items([], "item_id:token\ttitle:str"), described=False),
    of_item("a tab at the end of each line", ", line 2: 3 cells where the first line has 2 columns; correct it",
            items([f"t{number}\t" for number in range(N_ITEMS)]), described=False),
]  # fmt: skip
