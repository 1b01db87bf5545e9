"""Filters and splits against independent ones, written as a reader of their definitions would."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from recbole_mm.data.conversion.selection import outside_k_core, repeated
from recbole_mm.data.conversion.splitting import global_time, leave_one_out, random_per_user


@pytest.fixture
def pairs():
    random = np.random.default_rng(4)
    return random.integers(0, 40, 300).astype(np.int32), random.integers(0, 30, 300).astype(np.int32)


@pytest.mark.parametrize("k", [2, 5, 8])
def test_k_core(pairs, k):
    users, items = pairs
    rows = set(range(300))
    while True:
        by_user, by_item = Counter(users[r] for r in rows), Counter(items[r] for r in rows)
        few = {r for r in rows if by_user[users[r]] < k or by_item[items[r]] < k}
        if not few:
            break
        rows -= few
    kept = np.ones(300, dtype=bool)
    assert set(np.flatnonzero(~outside_k_core(users, items, kept, k))) == rows
    assert k == 8 or rows


def test_only_kept_interactions_count_for_the_core_and_for_repetitions():
    users, items = np.array([0, 0, 1, 1, 0]), np.array([0, 1, 0, 1, 0])
    kept = np.array([True, True, True, True, False])
    assert not outside_k_core(users, items, kept, 2).any()
    assert outside_k_core(users, items, np.array([True, True, True, False, False]), 2).tolist() == [1, 1, 1, 0, 0]
    assert not repeated(users, items, kept, "first").any()
    everything = np.ones(5, dtype=bool)
    assert np.flatnonzero(repeated(users, items, everything, "first")).tolist() == [4]
    assert np.flatnonzero(repeated(users, items, everything, "last")).tolist() == [0]


@pytest.mark.parametrize("ratios", [(0.8, 0.1, 0.1), (0.7, 0.1, 0.2), (0.5, 0.3, 0.2)])
def test_random_counts_are_recboles(pairs, ratios):
    from recbole.data.dataset import Dataset

    users, _ = pairs
    splits = random_per_user(users, ratios, seed=7)
    for user in np.unique(users):
        mine = splits[users == user]
        ends = Dataset._calcu_split_ids(None, len(mine), list(ratios))
        assert np.bincount(mine, minlength=3).tolist() == np.diff([0, *ends, len(mine)]).tolist()
    assert (splits == random_per_user(users, ratios, seed=7)).all()
    assert (splits != random_per_user(users, ratios, seed=8)).any()


def test_leave_one_out_goes_by_time_then_by_row():
    users = np.array([0, 1, 0, 0, 1, 2, 2, 2])
    times = np.array([30, 1, 10, 20, 2, 5, 5, 5])
    assert leave_one_out(users, times).tolist() == [2, 0, 0, 1, 0, 0, 1, 2]
    assert leave_one_out(users, None).tolist() == [0, 0, 1, 2, 0, 0, 1, 2]


def test_times_that_float32_cannot_tell_apart_are_ordered():
    times = np.array([1_700_000_003, 1_700_000_001, 1_700_000_002])
    assert leave_one_out(np.zeros(3, dtype=int), times).tolist() == [2, 0, 1]


def test_one_moment_for_all_never_parts_equal_times():
    times = np.array([5, 1, 2, 3, 4, 6, 7, 8, 9, 10])
    assert global_time(times, (0.8, 0.1, 0.1)).tolist() == [0, 0, 0, 0, 0, 0, 0, 0, 1, 2]
    splits = global_time(np.array([1, 1, 1, 2, 2, 2, 2, 3, 3, 3]), (0.5, 0.3, 0.2))
    assert splits.tolist() == [0, 0, 0, 1, 1, 1, 1, 2, 2, 2]
