"""The tables of full-sort evaluation hold what RecBole's own loop puts there."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from recbole.data.dataloader.general_dataloader import FullSortEvalDataLoader
from recbole.utils import ModelType

from recbole_mm.testing.toy import PRE_SPLIT, start, write_dataset


@pytest.fixture
def run(tmp_path):
    """u2 is tested on nothing, u3 on an item twice, u4 on one that the sampler does not know as used."""
    pairs = [("u4", "i4"), ("u1", "i3"), ("u3", "i2"), ("u3", "i2"), ("u1", "i1")]
    every = [(f"u{user}", f"i{item}") for user in range(1, 5) for item in range(1, 6)]
    train = [("u1", "i6"), ("u2", "i7"), *(pair for pair in every if pair not in pairs)]
    data = write_dataset(tmp_path / "data", {"train": train, "valid": pairs, "test": pairs}, {})
    return start("BPR", data, **PRE_SPLIT)


def tables(loader):
    """Users, counts, and for each user what is positive and what is masked, as sets."""
    found = {
        "users": loader.uid_list.tolist(),
        "counts": loader.uid2items_num.tolist(),
        "rows": loader.user_df["user_id"].tolist(),
        "size": (loader.sample_size, loader.step, len(loader)),
    }
    for name in ("uid2positive_item", "uid2history_item"):
        values = getattr(loader, name)
        assert all(ids is None or ids.dtype == torch.int64 for ids in values)
        found[name] = [None if ids is None else sorted(ids.tolist()) for ids in values]
    return found


def by_recbole(config, dataset, sampler):
    """The loop of data/dataloader/general_dataloader.py:196-242, user by user."""
    dataset.sort(by="user_id", ascending=True)
    positive: dict[int, set] = {}
    for user, item in zip(dataset.inter_feat["user_id"].tolist(), dataset.inter_feat["item_id"].tolist(), strict=True):
        positive.setdefault(user, set()).add(item)
    every = range(dataset.user_num)
    return {
        "users": list(positive),
        "counts": [len(positive.get(user, ())) for user in every],
        "rows": list(positive),
        "uid2positive_item": [sorted(positive[user]) if user in positive else None for user in every],
        "uid2history_item": [
            sorted(sampler.used_ids[user] - positive[user]) if user in positive else None for user in every
        ],
    }


def test_the_tables_are_recboles(run):
    for loader in (run.valid_data, run.test_data):
        expected = by_recbole(run.config, loader._dataset, loader._sampler)
        found = tables(loader)
        assert found.pop("size") == (len(expected["users"]), loader.step, 1)
        assert found == expected


def test_items_that_the_sampler_does_not_know_are_not_masked(run):
    sampler = run.valid_data._sampler
    sampler.used_ids = np.array([set(), *({1, 2, 3}, set(), {2}, {1})])
    loader = FullSortEvalDataLoader(run.config, run.valid_data._dataset, sampler)
    found = tables(loader)
    found.pop("size")
    assert found == by_recbole(run.config, run.valid_data._dataset, sampler)


def test_a_sequential_model_has_no_users(run):
    run.config["MODEL_TYPE"] = ModelType.SEQUENTIAL
    loader = FullSortEvalDataLoader(run.config, run.valid_data._dataset, run.valid_data._sampler)
    assert loader.is_sequential and not hasattr(loader, "uid_list")
