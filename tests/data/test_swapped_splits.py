"""The three splits of files: validation and test change places (``swap_valid_test``), and copies are told of."""

from __future__ import annotations

import pytest

from recbole_mm.testing.toy import PRE_SPLIT, start, write_dataset

SPLITS = {
    "train": [("u1", "a"), ("u1", "b"), ("u2", "b"), ("u2", "c"), ("u3", "a")],
    "valid": [("u1", "c"), ("u2", "a")],
    "test": [("u3", "b"), ("u3", "d"), ("u3", "e")],
}


@pytest.mark.parametrize("model", ["VBPR", "BPR"])
@pytest.mark.parametrize("swap", [False, True])
def test_splits(tmp_path, model, swap, caplog):
    write_dataset(tmp_path, SPLITS, {"visual": {item: [1.0, float(ord(item))] for item in "abcde"}})
    run = start(model, tmp_path, **PRE_SPLIT, swap_valid_test=swap)
    users = [{run.dataset.id2token("user_id", user) for user in loader.uid_list.tolist()}
             for loader in (run.valid_data, run.test_data)]  # fmt: skip
    expected = [{"u1", "u2"}, {"u3"}]
    assert users == (expected[::-1] if swap else expected)
    assert len(run.train_data._dataset) == 5
    assert ("what is called validation from here on is the test split" in caplog.text) == swap


@pytest.mark.parametrize("copy", ["train", "valid", None])
def test_a_split_that_is_a_copy_is_told_of(tmp_path, copy, caplog):
    splits = {**SPLITS, "test": [*SPLITS["test"], ("u1", "c")]}  # a pair may stand in two
    if copy:
        splits["test"] = SPLITS[copy]
    write_dataset(tmp_path, splits, {"visual": {item: [1.0, float(ord(item))] for item in "abcde"}})
    start("BPR", tmp_path, **PRE_SPLIT)
    n = len(splits["test"])
    message = f"all {n} interactions of toy.test.inter are in toy.{copy}.inter too; is it a copy?"
    assert (message in caplog.text) == (copy is not None)
    assert ("is it a copy" in caplog.text) == (copy is not None)
