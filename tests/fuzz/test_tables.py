"""Readers of tables and lists of users: interactions, texts of items, titles, users to serve."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbole_mm.analysis.items import item_titles
from recbole_mm.data.converters.mmrec import convert_mmrec
from recbole_mm.data.describe import read_interactions
from recbole_mm.data.file_form import FileForm
from recbole_mm.extraction import Texts
from recbole_mm.extraction.contents import MissingContent
from recbole_mm.recommend.ranking import read_users
from tests.fuzz.strategies import fuzz, ids, letters, mutated, read_or_refuse

INTER = "user_id:token\titem_id:token\nu\ta\nv\tb\nv\ta\n"
ITEM = "item_id:token\ttitle:token_seq\tplot:token_seq\tyear:float\na\tA doll\tin space\t1999\nb\t\tzebra\t2000\n"
MMREC = "userID\titemID\trating\tx_label\nu\t0\t5\t0\nu\t1\t4\t1\nv\t0\t3\t2\nv\t1\t1\t0\n"


@pytest.fixture
def shop(tmp_path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "shop.inter").write_text(INTER)
    return folder


@fuzz
@given(data=st.data())
def test_damaged_interactions(shop, data):
    file = shop / "shop.inter"
    file.write_bytes(data.draw(mutated(INTER.encode())))
    read = read_or_refuse(lambda: read_interactions(shop, "shop", ["user_id", "item_id"], FileForm()), file)
    if read is not None and '"' not in (text := file.read_bytes().decode(errors="replace")):
        lines = [line for line in text.lstrip("\ufeff").replace("\r", "\n").split("\n") if line]
        columns = [lines[0].split("\t").index(f"{field}:token") for field in ("user_id", "item_id")]
        rows = [line.split("\t") + [""] * len(lines[0]) for line in lines[1:]]
        expected = [[row[column] for column in columns] for row in rows]
        assert read[0].to_numpy().tolist() == expected


@fuzz
@given(texts=st.dictionaries(ids, st.text(letters, max_size=8), min_size=1, max_size=5))
def test_texts_are_those_of_the_file(tmp_path_factory, texts):
    texts = {item.replace('"', "'"): text.replace('"', "'") for item, text in texts.items()}
    folder = tmp_path_factory.mktemp("case") / "shop"
    folder.mkdir()
    (folder / "shop.inter").write_text(INTER)
    rows = "".join(f"{item}\t{text}\n" for item, text in texts.items())
    (folder / "shop.item").write_text(f"item_id:token\tplot:token_seq\n{rows}", encoding="utf-8", newline="")
    read = Texts(folder, ["plot"])
    assert read.items == list(dict.fromkeys(["a", "b", *texts]))
    for item, text in texts.items():
        if text.strip():
            assert read.read(item) == [text.strip()]
        else:
            with pytest.raises(MissingContent):
                read.read(item)


@fuzz
@given(data=st.data())
def test_damaged_items(shop, data):
    file = shop / "shop.item"
    file.write_bytes(data.draw(mutated(ITEM.encode())))
    read_or_refuse(lambda: Texts(shop, ["title", "plot"]), file)
    config = {"field_separator": "\t", "encoding": "utf-8"}
    dataset = SimpleNamespace(dataset_path=shop, dataset_name="shop", config=config, iid_field="item_id")
    titles = read_or_refuse(lambda: item_titles(dataset), file)
    assert titles is None or all(isinstance(part, str) for pair in titles.items() for part in pair)


@fuzz
@given(data=st.data())
def test_damaged_users(tmp_path, data):
    names = ["[PAD]", "u", "v w", "é"]
    known = {name: number for number, name in enumerate(names)}
    dataset = SimpleNamespace(uid_field="user_id", field2token_id={"user_id": known}, dataset_name="shop")
    file = tmp_path / "users.txt"
    file.write_bytes(data.draw(mutated("u\nv w\né\nu\n".encode())))
    read = read_or_refuse(lambda: read_users(file, dataset), file)
    if read is not None:
        lines = [line.strip() for line in file.read_bytes().decode().lstrip("\ufeff").split("\n")]
        assert [names[number] for number in read] == [line for line in dict.fromkeys(lines) if line]


@fuzz
@given(data=st.data())
def test_damaged_mmrec(tmp_path_factory, data):
    """All three splits, each row in its own, or a refusal and nothing written."""
    folder = tmp_path_factory.mktemp("case")
    source = folder / "toys"
    source.mkdir()
    np.save(source / "image_feat.npy", np.ones((2, 3), np.float32))
    file = source / "toys.inter"
    file.write_bytes(data.draw(mutated(MMREC.encode())))
    written = read_or_refuse(lambda: convert_mmrec(source, "toys", folder / "out"), file)
    if written is None:
        assert not (folder / "out" / "toys").exists()
    else:
        splits = [(written / f"toys.{split}.inter").read_text(encoding="utf-8") for split in ("train", "valid", "test")]
        assert all(split.count("\n") >= 2 for split in splits)
