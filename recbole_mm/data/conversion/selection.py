"""Which interactions are left out: repeated ones, those outside the k-core. Arrays alone, `[n]` in order."""

from __future__ import annotations

from typing import Literal

import numpy as np


def repeated(users: np.ndarray, items: np.ndarray, kept: np.ndarray, which: Literal["first", "last"]) -> np.ndarray:
    """bool `[n]`: kept interactions whose pair has a kept one before it (where the first stays), or after it."""
    rows = np.flatnonzero(kept)
    pairs = users[rows].astype(np.int64) << 32 | items[rows]
    if which == "last":
        rows, pairs = rows[::-1], pairs[::-1]
    _, first = np.unique(pairs, return_index=True)
    mask = kept.copy()
    mask[rows[first]] = False
    return mask


def outside_k_core(users: np.ndarray, items: np.ndarray, kept: np.ndarray, k: int) -> np.ndarray:
    """bool `[n]`: kept interactions outside the k-core, in which each user and each item has at least k of them."""
    rows = np.flatnonzero(kept)
    while True:
        user_counts = np.bincount(users[rows])
        item_counts = np.bincount(items[rows])
        enough = (user_counts[users[rows]] >= k) & (item_counts[items[rows]] >= k)
        if enough.all():
            break
        rows = rows[enough]
    mask = kept.copy()
    mask[rows] = False
    return mask
