"""A user with all items: refused by name where negative items are drawn, told of where all items are ranked."""

from __future__ import annotations

import pytest
from recbole.config import Config
from recbole.data import create_dataset, data_preparation

from recbole_mm.testing.toy import PRE_SPLIT, QUIET, write_dataset

ITEMS = [f"i{number}" for number in range(6)]
OTHERS = {
    "train": [("u1", "i0"), ("u1", "i1"), ("u2", "i2"), ("u2", "i3")],
    "valid": [("u1", "i2"), ("u2", "i4")],
    "test": [("u1", "i3"), ("u2", "i5")],
}


def write(folder, train, valid=(), test=()):
    own = {"train": train, "valid": valid, "test": test}
    splits = {split: [*OTHERS[split], *(("all", ITEMS[number]) for number in own[split])] for split in OTHERS}
    return write_dataset(folder, splits, {"visual": {item: [float(at), 1.0] for at, item in enumerate(ITEMS)}})


def prepare(data, model, **settings):
    config = Config(model, "toy", config_dict={**QUIET, **PRE_SPLIT, "data_path": str(data), "topk": [2],
                                               "valid_metric": "Recall@2", **settings})  # fmt: skip
    return data_preparation(config, create_dataset(config))


@pytest.mark.parametrize("model", ["VBPR", "BPR"])
def test_a_user_with_all_items_in_training_is_named(tmp_path, model):
    data = write(tmp_path, range(6))
    with pytest.raises(ValueError) as error:
        prepare(data, model)
    assert str(error.value) == (
        f"{data / 'toy' / 'toy.train.inter'}: user 'all' has all 6 items, and no negative item is left to draw in "
        "training; leave it out of the file"
    )


def test_one_file_that_is_split_can_be_filtered(tmp_path):
    pairs = [pair for split in OTHERS.values() for pair in split]
    rows = [*pairs, *(("all", item) for item in ITEMS), *(("too", item) for item in ITEMS)]
    data = write_dataset(tmp_path, {"": rows}, {"visual": {item: [1.0, 2.0] for item in ITEMS}})
    whole = {"benchmark_filename": None, "eval_args": {"split": {"RS": [1, 0, 0]}}, "eval_step": 0}
    with pytest.raises(ValueError, match=r"toy\.inter: user 'all' \(and 1 more\) has all 6 items, .*; leave it out of "
                       r"the file, or set user_inter_num_interval: \[0,6\)$"):  # fmt: skip
        prepare(data, "VBPR", **whole)
    train, *_ = prepare(data, "VBPR", **whole, user_inter_num_interval="[0,6)")
    assert train._dataset.user_num == 3


def test_all_that_popularity_draws_is_enough(tmp_path):
    """RecBole draws only items with interactions then, and would look forever for another."""
    data = write(tmp_path, range(6))
    rows = "item_id:token\tname:token\n" + "".join(f"{item}\tx\n" for item in [*ITEMS, "i6", "i7"])
    (data / "toy" / "toy.item").write_text(rows)
    columns = {"load_col": {"inter": ["user_id", "item_id"], "item": ["item_id", "name"]}}
    popular = {"train_neg_sample_args": {"distribution": "popularity", "sample_num": 1}}
    with pytest.raises(ValueError, match=r"user 'all' has all 6 items that have interactions, and no negative item"):
        prepare(data, "BPR", **columns, **popular)
    train, *_ = prepare(data, "BPR", **columns)
    batch = next(iter(train))
    assert {7, 8} >= set(batch["neg_item_id"][batch["user_id"] == train._dataset.token2id("user_id", "all")].tolist())


@pytest.mark.parametrize("model", ["VBPR", "BM3", "ContentEASE"])
def test_all_items_by_the_test_split_are_told_of(tmp_path, model, caplog):
    train, _, test = prepare(write(tmp_path, range(4), [4], [5]), model)
    assert caplog.messages[-1] == (
        "toy: user 'all' has all 6 items by then: nothing stands against its own in the test lists, which are right "
        "whatever the model"
    )
    assert len(list(train)) and len(list(test))


@pytest.mark.parametrize("model", ["BM3", "ContentEASE"])
def test_a_model_that_draws_none_trains_on_all_items(tmp_path, model, caplog):
    train, *_ = prepare(write(tmp_path, range(6)), model)
    assert len(list(train)) and not caplog.messages


def test_sampled_candidates_need_one_that_is_left(tmp_path):
    sampled = {"eval_args": {"mode": "uni2"}}
    data = write(tmp_path, range(4), [4], [5])
    with pytest.raises(ValueError, match=r"toy\.test\.inter: user 'all' has all 6 items, and no negative item is left "
                       r"to draw in test; leave it out of the file$"):  # fmt: skip
        prepare(data, "VBPR", **sampled)
    prepare(data, "VBPR", **sampled, eval_history="train")  # which leaves the validation item to draw
