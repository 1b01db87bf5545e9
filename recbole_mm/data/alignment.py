"""The rows of a feature file in the order of RecBole's internal item ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from recbole_mm.data.feature_table import FeatureTable

LEAST_COVERAGE = 0.1


def align(table: FeatureTable, token_id: Mapping[str, int], n_items: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of a file: float32 ``[n_items, width]``, zero where an item has none, and which items have one.

    Args:
        table: the file's.
        token_id: internal ids by the files' ids.
        n_items: with the padding item.
    """
    target = np.fromiter((token_id.get(token, 0) for token in table.ids), dtype=np.int64, count=len(table.ids))
    rows = np.flatnonzero(target)
    feature = np.zeros((n_items, table.values.shape[1]), dtype=np.float32)
    table.copy_into(feature, target[rows], rows)
    present = np.zeros(n_items, dtype=bool)
    present[target[rows]] = True
    return feature, present


def check_coverage(
    table: FeatureTable, name: str, present: np.ndarray, tokens: Sequence[str], dataset: str, policy: str
) -> None:
    """Raise ValueError where too few items have a row for a policy about those that have none.

    Args:
        table: the file's.
        name: of the modality.
        present: which items have a row, bool ``[n_items]``.
        tokens: the items' ids in the files, by internal id.
        dataset: its name.
        policy: ``missing_modality``.
    """
    absent, n_items = np.flatnonzero(~present[1:]) + 1, len(present) - 1
    if not present.any():
        raise ValueError(
            f"{table.path}: none of its {len(table.ids)} item ids (first: '{table.ids[0]}') occurs in the interactions "
            f"of '{dataset}' (first: '{tokens[1]}'); are these ids of another data set?"
        )
    if len(absent) and policy == "error":
        raise ValueError(
            f"{table.path}: {len(absent)} of {n_items} items have no {name} features (first: item "
            f"'{tokens[absent[0]]}'); add them, or set missing_modality: mean or zero"
        )
    if policy == "mean" and present.sum() < LEAST_COVERAGE * n_items:
        raise ValueError(
            f"{table.path}: only {present.sum()} of {n_items} items have {name} features; the mean of so few would "
            f"stand for nearly all. Add features, or set missing_modality: zero"
        )
