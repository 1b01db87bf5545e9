"""What is done to the three splits that RecBole's data set makes, of whosever model."""

from __future__ import annotations

import logging
from functools import cache
from typing import Any

from recbole.data.dataset import Dataset

from recbole_mm.host.cold_items import with_cold_items
from recbole_mm.host.mend import patch_in_place


@cache
def apply() -> None:
    """``cold_items`` and ``swap_valid_test``, data/dataset/dataset.py:1674. Called once, at import."""

    def build_as_configured(dataset: Any) -> list[Any]:
        splits = build(dataset)
        if dataset.config["cold_items"] is not None:
            splits = with_cold_items(splits)
        return _swapped(dataset, splits) if dataset.config["swap_valid_test"] else splits

    build = patch_in_place(Dataset.build, build_as_configured)


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
