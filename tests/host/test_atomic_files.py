"""RecBole's data sets through our reader: what they hold, and what is refused with file, line and column."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from recbole.config import Config
from recbole.data import create_dataset

import recbole_mm  # noqa: F401  mends RecBole

INTER = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
ROWS = [f"u{user}\ti{(user + 2 * k) % 9}\t{1 + k % 5}\t{k}" for user in range(8) for k in range(5)]


def load(folder: Path, model: str = "BPR", inter: str | bytes | None = None, item: str | None = None, **settings):
    place = folder / "shop"
    place.mkdir(exist_ok=True)
    content = INTER + "\n".join(ROWS) + "\n" if inter is None else inter
    (place / "shop.inter").write_bytes(content.encode() if isinstance(content, str) else content)
    if item is not None:
        (place / "shop.item").write_text(item)
    quiet = {"data_path": str(folder), "gpu_id": "", "state": "ERROR", "topk": [5], "valid_metric": "Recall@5"}
    return create_dataset(Config(model, "shop", config_dict={**quiet, "load_col": None, **settings}))


def refused(folder: Path, **arguments) -> str:
    with pytest.raises(ValueError) as caught:
        load(folder, **arguments)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_every_form_of_a_file_is_the_same_data(tmp_path, mark, ending):
    plain = load(tmp_path / "plain" if (tmp_path / "plain").mkdir() is None else tmp_path)
    other = load(tmp_path, inter=mark + (INTER + "\n".join(ROWS) + "\n").replace("\n", ending))
    assert other.field2token_id == plain.field2token_id
    for field in ("user_id", "item_id", "rating", "timestamp"):
        np.testing.assert_array_equal(other.inter_feat[field], plain.inter_feat[field])


def test_words_that_pandas_takes_for_nothing_are_ids(tmp_path):
    words = ["NA", "null", "None", "nan", "N/A", "NULL", "n/a", "#N/A"]
    rows = "".join(f"u{user}\t{word}\t1\t{k}\n" for user in range(3) for k, word in enumerate(words))
    dataset = load(tmp_path, inter=INTER + rows)
    assert set(words) <= set(dataset.field2token_id["item_id"])
    assert len(dataset.inter_feat) == 3 * len(words)


def test_titles_with_marks_keep_to_their_items(tmp_path):
    item = "item_id:token\ttitle:token_seq\n" + "".join(
        f"i{k}\t{title}\n" for k, title in enumerate(['"Red film blue', "a", "b", "blue film red\"", "NA", "", "c"])
    )
    dataset = load(tmp_path, item=item)
    titles = {
        dataset.id2token("item_id", int(item)): [str(dataset.id2token("title", int(word))) for word in words if word]
        for item, words in zip(dataset.item_feat["item_id"], dataset.item_feat["title"], strict=True)
    }
    assert titles["i0"] == ['"Red', "film", "blue"] and titles["i3"] == ["blue", "film", 'red"']
    assert titles["i1"] == ["a"] and titles["i4"] == ["NA"] and titles["i5"] == []


def test_missing_numbers_and_sequences(tmp_path):
    item = "item_id:token\tprice:float\tvector:float_seq\ti:token\ni0\t1\t0.5 1.5\tx\ni1\t\t\t\ni2\tNaN\t2\ty\n"
    dataset = load(tmp_path, item=item)
    features = dataset.item_feat.set_index("item_id")
    ids = {token: dataset.token2id("item_id", token) for token in ("i0", "i1", "i2")}
    assert [float(features["price"][ids[token]]) for token in ids] == [1, 1, 1]  # RecBole fills in the mean
    assert [list(features["vector"][ids[token]]) for token in ids] == [[0.5, 1.5], [], [2]]


@pytest.mark.parametrize(
    "first, message",
    [
        ("u0\ti0\t1\t2", "'u0' is no column with its type; it begins with the columns as name:type, such as user_id:"),
        ("user_id\titem_id", "'user_id' is no column with its type"),
        ("user_id:tokens\titem_id:token", "'tokens' of the column 'user_id:tokens' is no type"),
        ("user_id:token,item_id:token", "seems to be separated by ,; set field_separator"),
        ("user_id:token item_id:token", "seems to be separated by blanks; set field_separator"),
        ("userID\titemID\trating\tx_label", "is of MMRec's own files, which are converted first"),
        ("user_id:token\tuser_id:token", "the column 'user_id:token' stands there twice"),
        (":token\titem_id:token", "':token' is no column with its type"),
    ],
)
def test_another_first_line(tmp_path, first, message):
    found = refused(tmp_path, inter=first + "\n" + first.replace(":token", "") + "\n")
    assert "shop.inter, line 1: " in found and message in found


@pytest.mark.parametrize("separator", [",", ";", ":", "t", " "])
@pytest.mark.parametrize("row", ["u9\ti1\t3\t4", "u9\ti,1\t3\t4", 'u9\t"i1"\t3\t4'])
def test_a_separator_that_is_not_the_files_is_named_and_no_line(tmp_path, separator, row):
    found = refused(tmp_path, inter=f"{INTER}{row}\n", field_separator=separator)
    assert found == (
        f"field_separator: '{separator}' separates no columns of {tmp_path}/shop/shop.inter, whose first line has tabs "
        'between them; set field_separator: "\\t"'
    )


@pytest.mark.parametrize("separator", [",", ";", ".", "|"])
def test_a_separator_of_sequences_that_is_not_the_files_is_named(tmp_path, separator):
    rows = "".join(f"i{k}\t0.5 1.5\n" for k in range(9))
    item = f"item_id:token\tvector:float_seq\n{rows}"
    found = refused(tmp_path, item=item, seq_separator=separator)
    assert "line 2, column vector: value " in found and "blanks separate the values, and seq_separator" in found


@pytest.mark.parametrize(
    "row, message",
    [
        ("u9\ti1\t3", "line 42: 3 cells where the first line has 4 columns"),
        ("u9\ti1\t3\t4\t5", "line 42: 5 cells where the first line has 4 columns"),
        ("u9\ti1\tgood\t4", "line 42, column rating: 'good' is no finite number; correct it"),
        ("u9\ti1\tinf\t4", "line 42, column rating: 'inf' is no finite number"),
        ("\ti1\t3\t4", "line 42: there is no user_id; correct or delete the line"),
        ("u9\t\t3\t4", "line 42: there is no item_id; correct or delete the line"),
        ("u9\ti1\t3\t2020-01-31", "line 42, column timestamp: '2020-01-31' is no finite number; .* dates as seconds"),
    ],
)
def test_a_row_that_cannot_be(tmp_path, row, message):

    assert re.search(f"shop.inter, {message}", refused(tmp_path, inter=INTER + "\n".join([*ROWS, row]) + "\n"))


@pytest.mark.parametrize(
    "row, message",
    [
        ("u1\ti\x002\t3\t4", "line 42: a NUL; delete it"),
        ("u1\ti2\r\t3\t4", "line 42: a carriage return that ends no line; delete it"),
    ],
)
def test_letters_that_make_another_id_of_one(tmp_path, row, message):
    assert message in refused(tmp_path, inter=INTER + "\n".join([*ROWS, row]) + "\n")


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"inter": INTER}, "shop.inter holds no interactions; fill it"),
        ({"item": "item_id:token\tprice:float\ni0\t1\n\t2\n"}, "shop.item, line 3: there is no item_id; correct or"),
        ({"inter": "user_id:token_seq\titem_id:token\n1\t2\n"}, "line 1: 'user_id:token_seq' holds ids, which are of"),
        ({"inter": "user_id:token\titem_id:float\n1\t2\n"}, "line 1: 'item_id:float' holds ids.* write item_id:token"),
    ],
)
def test_ids_are_there(tmp_path, arguments, message):
    assert re.search(message, refused(tmp_path, **arguments))


def test_a_sequence_that_cannot_be(tmp_path):
    found = refused(tmp_path, item="item_id:token\tv:float_seq\ni0\t1 2\ni1\t1 x\n")
    assert "shop.item, line 3, column v: could not convert string to float: np.str_('x')" in found or "'x'" in found


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"USER_ID_FIELD": "user"}, r"USER_ID_FIELD: .* no column 'user' \(did you mean user_id\?\); it has"),
        ({"ITEM_ID_FIELD": "nope"}, "ITEM_ID_FIELD: .* no column 'nope'; it has user_id, item_id, rating"),
        ({"load_col": {"inter": ["user_id"]}}, "ITEM_ID_FIELD: 'item_id' of .inter is not loaded; add it to load_col"),
        ({"load_col": {"inter": ["user_id", "item_id", "rates"]}}, "load_col: inter: no file .* has a column 'rates'"),
        ({"load_col": {"inter": ["user_id", "item_id"], "items": ["x"]}}, "load_col: .* no kind of file 'items'"),
        ({"load_col": {"item": ["item_id"]}}, "load_col: nothing is loaded of the interactions"),
        ({"unload_col": {"inter": ["nope"]}}, "unload_col: inter: no file .* has a column 'nope'"),
        ({"alias_of_item_id": ["nope"]}, "alias_of_item_id: data set 'shop' has no column 'nope'"),
        ({"threshold": {"ratings": 3}}, r"threshold: .* no column 'ratings' \(did you mean rating\?\)"),
        ({"val_interval": {"nope": "[3,inf)"}}, "val_interval: data set 'shop' has no column 'nope'"),
        ({"normalize_field": ["nope"]}, "normalize_field: data set 'shop' has no column 'nope'"),
        ({"numerical_features": ["nope"]}, "numerical_features: data set 'shop' has no column 'nope'"),
        ({"preload_weight": {"item_id": "nope"}}, "preload_weight: data set 'shop' has no column 'nope'"),
        ({"unused_col": {"inter": ["user_id"]}}, "unused_col: inter: batches need the ids of users and items"),
        ({"USER_ID_FIELD": "item_id"}, "USER_ID_FIELD and ITEM_ID_FIELD are both 'item_id'; set one to another"),
        ({"benchmark_filename": ["train", "valid", "test"]}, "benchmark_filename: there is no shop.train.inter in "),
        ({"additional_feat_suffix": ["zz"]}, "additional_feat_suffix: there is no shop.zz in .*; there are shop.inter"),
        (
            {"user_inter_num_interval": "[1000,inf)"},
            r"the filters of data set 'shop' leave nothing \(user_inter_num_interval: \[1000,inf\)\); let more through",
        ),
        ({"seq_len": {"nope": 3}}, "seq_len: data set 'shop' has no column 'nope'"),
        ({"TIME_FIELD": "time", "eval_args": {"order": "TO"}}, "order: TO needs TIME_FIELD: .* no column 'time'"),
        (
            {"load_col": {"inter": ["user_id", "item_id"]}, "eval_args": {"order": "TO"}},
            "order: TO needs TIME_FIELD: 'timestamp' of .inter is not loaded",
        ),
        (
            {"eval_args": {"mode": "labeled"}, "metrics": ["AUC"], "valid_metric": "AUC"},
            r"labelled rows need LABEL_FIELD: data set 'shop' has no column 'label'.* threshold: \{rating: 3\}",
        ),
    ],
)
def test_settings_that_name_what_is_not_there(tmp_path, settings, message):

    assert re.search(message, refused(tmp_path, **settings))


def test_columns_of_other_names(tmp_path):
    rows = "\n".join(ROWS)
    names = {"USER_ID_FIELD": "who", "ITEM_ID_FIELD": "what", "TIME_FIELD": "when", "eval_args": {"order": "TO"}}
    dataset = load(tmp_path, inter=f"who:token\twhat:token\trating:float\twhen:float\n{rows}\n", **names)
    assert len(dataset.inter_feat) == len(ROWS)
