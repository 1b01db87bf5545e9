"""Tables as people write them, of the same interactions: one data set, whatever the form, that trains an epoch."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from recbole_mm.__main__ import main
from recbole_mm.data.feature_file import read_features
from recbole_mm.io.tables import read_table
from recbole_mm.testing.toy import start

N_USERS, N_ITEMS = 20, 12
ROWS = [(f"u{user}", f"i{(user + 5 * place) % N_ITEMS}", 1 + (user + place) % 5, 1_700_000_000 + 60 * user + place)
        for user in range(N_USERS) for place in range(6)]  # fmt: skip
NAMES = ["reviewer", "asin", "stars", "timestamp"]
VISUAL = np.random.default_rng(1).standard_normal((N_ITEMS, 5)).astype(np.float32)
ITEM_IDS = [f"i{item}" for item in np.random.default_rng(2).permutation(N_ITEMS)]


def _lines(separator: str = ",", names: list[str] = NAMES, end: str = "\n") -> str:
    head = [separator.join(names)] if names else []
    return end.join([*head, *(separator.join(map(str, row)) for row in ROWS)]) + end


def _frame() -> pd.DataFrame:
    return pd.DataFrame(ROWS, columns=NAMES)


TEXTS = {
    "CSV": ("r.csv", _lines()),
    "CSV with a mark of the byte order and CRLF": ("r.csv", "\ufeff" + _lines(end="\r\n")),
    "pandas' index as first column": ("r.csv", _frame().to_csv()),
    "all cells in marks": ("r.csv", _frame().to_csv(index=False, quoting=1)),
    "semicolons": ("r.csv", _lines(";")),
    "vertical bars": ("r.txt", _lines("|")),
    "TSV": ("r.tsv", _lines("\t")),
    "TSV without a header": ("r.tsv", _lines("\t", [])),
    "MovieLens 1M's": ("r.dat", _lines("::", [])),
    "names with blanks and capitals": ("r.csv", _lines(names=["User ID", "Item ID", "Rating", "Time Stamp"])),
    "names of MovieLens": ("r.csv", _lines(names=["userId", "movieId", "rating", "timestamp"])),
    "other columns between": ("r.csv", _frame().assign(note="a, b").iloc[:, [4, 3, 0, 2, 1]].to_csv(index=False)),
}


def _parquet(folder: Path) -> Path:
    _frame().to_parquet(folder / "r.parquet")
    return folder / "r.parquet"


def _packed(folder: Path) -> Path:
    (folder / "r.csv.gz").write_bytes(gzip.compress(_lines().encode()))
    return folder / "r.csv.gz"


def _text(name: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        file, content = TEXTS[name]
        (folder / file).write_bytes(content.encode())
        return folder / file

    return write


FORMS = {**{name: _text(name) for name in TEXTS}, "Parquet": _parquet, "packed by gzip": _packed}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_the_same_data_set(form, tmp_path):
    source = FORMS[form](tmp_path)
    assert main(["convert", "auto", str(source), "--name", "toys", "--out", "data"]) == 0
    table = read_table("data/toys/toys.inter")
    found = zip(*(table[name] for name in table), strict=True)
    expected = [(user, item, float(stars), time) for user, item, stars, time in ROWS]
    assert [(user, item, float(stars), int(time)) for user, item, stars, time in found] == expected


def _with_arrays(folder: Path) -> list[str]:
    """As people keep what an encoder gave: an array, and the ids of its rows."""
    (folder / "r.csv").write_text(_lines())
    np.save(folder / "image_feat.npy", VISUAL)
    (folder / "item_ids.txt").write_text("\n".join(ITEM_IDS) + "\n")
    return [str(folder / "r.csv")]


def _with_vectors_in_parquet(folder: Path) -> list[str]:
    _parquet(folder)
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(VISUAL.reshape(-1)), VISUAL.shape[1])
    pq.write_table(pa.table({"asin": ITEM_IDS, "image_embedding": vectors}), folder / "items.parquet")
    return [str(folder / "r.parquet"), "--items", str(folder / "items.parquet")]


@pytest.mark.parametrize("write", [_with_arrays, _with_vectors_in_parquet])
def test_features_are_those_of_the_source_by_id_and_train_an_epoch(write, tmp_path):
    assert main(["convert", "auto", *write(tmp_path), "--name", "toys", "--out", "data", "--split", "random"]) == 0
    table = read_features(Path("data/toys"), "toys", "visual")
    assert set(table.ids) == set(ITEM_IDS)
    for item, row in zip(table.ids, table.values, strict=True):
        assert row.tobytes() == VISUAL[ITEM_IDS.index(item)].tobytes()
    small = {"epochs": 1, "embedding_size": 4, "train_batch_size": 64, "topk": [5], "valid_metric": "Recall@5"}
    run = start(
        "VBPR", Path("data").absolute(), "toys", **small, **yaml.safe_load(Path("data/toys/toys.yaml").read_text())
    )
    run.trainer().fit(run.train_data, run.valid_data, saved=False, verbose=False, show_progress=False)
    feature, ids = run.dataset.modality_feature("visual").numpy(), run.dataset.field2id_token["item_id"]
    for number in range(1, run.dataset.item_num):
        np.testing.assert_array_equal(feature[number], VISUAL[ITEM_IDS.index(ids[number])])


@pytest.mark.parametrize(
    "name, lines, place",
    [
        ("items.jsonl", ['{"item": "a", "emb": [0.5, 1.5]}', '{"item": "b", "emb": [0.5, 1e-400]}'], "line 2"),
        ("items.jsonl", ["{'item': 'a', 'emb': [0.5, 1.5]}", "{'item': 'b', 'emb': [0.5, -1e-400]}"], "line 2"),
        ("items.csv", ["item,emb", 'a,"[0.5, 1.5]"', 'b,"[0.5, 1e-400]"'], "line 3"),
        ("items.csv", ["item,emb", 'a,"[0.5, 1.5]"', 'b,"[0.5, 1e400]"'], "line 3"),
    ],
)
def test_a_vector_with_a_number_that_no_computer_holds(tmp_path, capsys, name, lines, place):
    (tmp_path / "r.csv").write_text("user,item,rating\nu,a,1\nv,b,2\n")
    items = tmp_path / name
    items.write_text("\n".join(lines) + "\n")
    assert main(["convert", "auto", str(tmp_path / "r.csv"), "--items", str(items), "--name", "t", "--out", "d"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {items}, {place}") and "as numbers end at 1e-308 and 1e308; write one" in line
