"""What is done to the three splits that RecBole's data set makes, of whosever model."""

from __future__ import annotations

import logging
from functools import cache
from itertools import combinations
from typing import Any

import numpy as np
from recbole.data.dataset import Dataset

from recbole_mm.host.cold_items import with_cold_items
from recbole_mm.host.mend import patch_in_place


@cache
def apply() -> None:
    """``cold_items`` and ``swap_valid_test``, data/dataset/dataset.py:1674. Called once, at import."""

    def build_as_configured(dataset: Any) -> list[Any]:
        splits = build(dataset)
        if dataset.config["benchmark_filename"]:
            _tell_of_copies(dataset, splits)
        if dataset.config["cold_items"] is not None:
            splits = with_cold_items(splits)
        return _swapped(dataset, splits) if dataset.config["swap_valid_test"] else splits

    build = patch_in_place(Dataset.build, build_as_configured)


def _tell_of_copies(dataset: Any, splits: list[Any]) -> None:
    """A split whose interactions all stand in another one is a copied file sooner than a split."""
    pairs = []
    for split in splits:
        users, items = (split.inter_feat[field].numpy() for field in (dataset.uid_field, dataset.iid_field))
        pairs.append(users.astype(np.int64) * dataset.item_num + items)
    named = zip(dataset.config["benchmark_filename"], pairs, strict=True)
    for (first, earlier), (second, later) in combinations(named, 2):
        if len(later) and np.isin(later, earlier).all():
            logging.getLogger(__name__).warning(
                "all %d interactions of %s.%s.inter are in %s.%s.inter too; is it a copy? metrics of such splits say "
                "nothing",
                *(len(later), dataset.dataset_name, second, dataset.dataset_name, first),
            )


def _swapped(dataset: Any, splits: list[Any]) -> list[Any]:
    if not all(map(len, splits)):
        raise ValueError(
            f"swap_valid_test: True needs a validation and a test split, and '{dataset.dataset_name}' has rows "
            f"{list(map(len, splits))} of training, validation and test"
        )
    logging.getLogger(__name__).warning(
        "swap_valid_test: what is called validation from here on is the test split, and the other way round"
    )
    training, validation, test = splits
    return [training, test, validation]
