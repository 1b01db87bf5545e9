"""Splits of interactions into training, validation and test. Arrays alone, `[n]`; 0, 1 and 2 are the three."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def random_per_user(users: np.ndarray, ratios: Sequence[float], seed: int) -> np.ndarray:
    """A share of each user's interactions, drawn by the seed, int8 `[n]`.

    The counts are RecBole's (`Dataset._calcu_split_ids`): both shares are rounded down, and a user with more than one
    interaction in training gives one to the test, then one to the validation, where a share is less than one.
    """
    order, position, count = _ranked(users, np.random.default_rng(seed).random(len(users)))
    n_test = np.floor(ratios[2] * count).astype(np.int64)
    n_valid = np.floor(ratios[1] * count).astype(np.int64)
    for share, n_rows in ((ratios[2], n_test), (ratios[1], n_valid)):
        n_rows += (count - n_test - n_valid > 1) & (share > 0) & (n_rows == 0)
    return _from_end(order, position, count, n_valid, n_test)


def leave_one_out(users: np.ndarray, times: np.ndarray | None) -> np.ndarray:
    """Each user's last interaction for the test, the one before for validation, int8 `[n]`.

    Without times, and where they are equal, the order of the rows decides. A user with fewer than three stays in
    training.
    """
    order, position, count = _ranked(users, times)
    is_held_out = (count >= 3).astype(np.int64)
    return _from_end(order, position, count, is_held_out, is_held_out)


def global_time(times: np.ndarray, ratios: Sequence[float]) -> np.ndarray:
    """The earliest share for training, the latest for the test, int8 `[n]`; equal times are never parted."""
    ordered = np.sort(times)
    bounds = np.cumsum(ratios)[:2] * len(times)
    starts = [ordered[min(int(np.floor(bound + 1e-9)), len(times) - 1)] for bound in bounds]
    return np.searchsorted(np.array(starts, dtype=ordered.dtype), times, side="right").astype(np.int8)


def _ranked(users: np.ndarray, keys: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows by user and key, and of each its position among the user's and the user's count, all `[n]`."""
    order = np.argsort(users, kind="stable") if keys is None else np.lexsort((keys, users))
    counts = np.bincount(users)
    starts = np.cumsum(counts) - counts
    ordered = users[order]
    return order, np.arange(len(users)) - starts[ordered], counts[ordered]


def _from_end(
    order: np.ndarray, position: np.ndarray, count: np.ndarray, n_valid: np.ndarray, n_test: np.ndarray
) -> np.ndarray:
    """int8 `[n]`: 2 for the last `n_test` of each user's rows, 1 for the `n_valid` before, all `[n]` in `order`."""
    splits = np.zeros(len(order), dtype=np.int8)
    from_end = count - position
    splits[order] = np.where(from_end <= n_test, 2, np.where(from_end <= n_test + n_valid, 1, 0))
    return splits
