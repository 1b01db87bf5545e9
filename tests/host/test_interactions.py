"""Slips of RecBole's data sets, against what stands in the files."""

from __future__ import annotations

from pathlib import Path

import pytest
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.utils import get_model

import recbole_mm  # noqa: F401  mends RecBole

ROWS = [(f"u{user}", f"i{(user * 3 + place * 2) % 20}") for user in range(10) for place in range(6)]


def load(folder: Path, model: str, files: dict[str, list[str]], **settings):
    place = folder / "shop"
    place.mkdir(parents=True, exist_ok=True)
    for suffix, lines in files.items():
        (place / f"shop.{suffix}").write_text("\n".join(lines) + "\n")
    config = Config(model, "shop", config_dict={
        "data_path": str(folder), "gpu_id": "", "state": "ERROR", "metrics": ["Recall"], "topk": [5],
        "valid_metric": "Recall@5", **settings,
    })  # fmt: skip
    return config, create_dataset(config)


@pytest.mark.parametrize("model", ["BPR", "VBPR"])
@pytest.mark.parametrize(
    "users, items",
    [([3], [40, 50]), ([], [0, 59]), ([0, 1, 2], [3, 4, 5]), ([58], [0]), ([5], [5]), ([59], [57, 58])],
)
def test_the_first_row_without_a_user_or_an_item_is_named(tmp_path, model, users, items):
    """RecBole leaves such rows out without a word, and others in their place where some were filtered before."""
    rows = [
        ("" if number in users else user, "" if number in items else item) for number, (user, item) in enumerate(ROWS)
    ]
    lines = ["user_id:token\titem_id:token", *("\t".join(row) for row in rows)]
    column, first = ("user_id", min(users)) if users else ("item_id", min(items))
    with pytest.raises(ValueError, match=f"shop.inter, line {first + 2}: there is no {column}; correct or delete"):
        load(tmp_path, model, {"inter": lines})


def sequences(item_field: str) -> dict[str, list[str]]:
    """Split files; of user n the items before are those numbered n to n + 2, the next one is n + 3."""
    header = f"user_id:token\t{item_field}:token\t{item_field}_list:token_seq"
    lines = [f"u{n}\ti{n + 3}\ti{n} i{n + 1} i{n + 2}" for n in range(12)]
    parts = {"train.inter": lines[:8], "valid.inter": lines[8:10], "test.inter": lines[10:]}
    return {suffix: [header, *part] for suffix, part in parts.items()}


SPLIT = {"benchmark_filename": ["train", "valid", "test"], "load_col": None, "train_neg_sample_args": None}


@pytest.mark.parametrize("field", ["item_id", "p_id", "asin"])
def test_sequences_of_split_files_are_read_whatever_the_items_are_called(tmp_path, field):
    own = {"ITEM_ID_FIELD": field, "alias_of_item_id": [f"{field}_list"]}
    config, dataset = load(tmp_path, "SASRec", sequences(field), **SPLIT, **own)
    train, _, test = data_preparation(config, dataset)
    for loader, users in ((train, range(8)), (test, range(10, 12))):
        found = loader._dataset.inter_feat
        for user, item, before, length in zip(*(found[name] for name in found), strict=True):
            number = int(str(dataset.id2token("user_id", user))[1:])
            assert number in users and length == 3
            assert dataset.id2token(field, item) == f"i{number + 3}"
            assert list(dataset.id2token(field, before)) == [f"i{number + place}" for place in range(3)]
    assert get_model("SASRec")(config, train._dataset).calculate_loss(next(iter(train))).isfinite()


def test_split_files_without_sequences_are_refused(tmp_path):
    files = {suffix: [line.rpartition("\t")[0] for line in lines] for suffix, lines in sequences("item_id").items()}
    with pytest.raises(ValueError, match="SASRec takes the items before each one from a column item_id_list:token_seq"):
        load(tmp_path, "SASRec", files, **SPLIT)


def test_sequences_whose_ids_would_be_numbered_apart_are_refused(tmp_path):
    with pytest.raises(ValueError, match="alias_of_item_id: item_id_list has ids of items"):
        load(tmp_path, "SASRec", sequences("item_id"), **SPLIT)


NONE = [None, "None", {"distribution": "none"}, {"sample_num": "none"}, {"distribution": "uniform", "sample_num": None}]


@pytest.mark.parametrize("sampling", NONE, ids=str)
def test_every_way_to_say_that_no_negative_items_are_drawn(tmp_path, sampling):
    lines = ["user_id:token\titem_id:token\ttimestamp:float", *(f"{u}\t{i}\t{n}" for n, (u, i) in enumerate(ROWS))]
    own = {"load_col": None, "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full"}}
    config, dataset = load(tmp_path, "SASRec", {"inter": lines}, train_neg_sample_args=sampling, **own)
    train, _, _ = data_preparation(config, dataset)
    assert get_model("SASRec")(config, train._dataset).calculate_loss(next(iter(train))).isfinite()


@pytest.mark.parametrize(
    "model, key", [("GRU4RecF", "selected_features"), ("SASRecF", "selected_features"), ("FDSA", "selected_features"),
                   ("S3Rec", "item_attribute")],
)  # fmt: skip
def test_columns_that_models_of_recbole_read_by_default_are_named(tmp_path, model, key):
    lines = ["user_id:token\titem_id:token\ttimestamp:float", *(f"{u}\t{i}\t{n}" for n, (u, i) in enumerate(ROWS))]
    own = {"load_col": None, "train_neg_sample_args": None}
    own |= {"train_stage": "pretrain"} if model == "S3Rec" else {}
    with pytest.raises(ValueError, match=f"{key}: data set 'shop' has no column 'class'; .*set {key} to the one"):
        load(tmp_path, model, {"inter": lines}, **own)


@pytest.mark.parametrize("suffix, row", [("user", "u1\t3"), ("item", "i4\t3")])
def test_interactions_that_a_file_of_users_or_items_leaves_out_are_counted(tmp_path, caplog, suffix, row):
    """RecBole deletes those of users and items without a row there, and its log has no word of it."""
    header = f"{suffix}_id:token\tage:float"
    lines = ["user_id:token\titem_id:token", *("\t".join(pair) for pair in ROWS)]
    own = {"load_col": None, "state": "WARNING"}
    _, dataset = load(tmp_path, "BPR", {"inter": lines, suffix: [header, row]}, **own)
    kept = [pair for pair in ROWS if row.split("\t")[0] in pair]
    assert dataset.inter_num == len(kept)
    lost = len(ROWS) - len(kept)
    assert f"{lost} of {len(ROWS)} interactions of shop are left out" in caplog.text
    everyone = [f"{name}\t3" for name in {pair[suffix == "item"] for pair in ROWS}]
    caplog.clear()
    load(tmp_path, "BPR", {suffix: [header, *everyone]}, **own)
    assert "left out" not in caplog.text
