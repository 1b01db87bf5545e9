"""A small view of RecBole's data sets: the one behind a loader, and the settings that one is made from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from recbole.utils.argument_list import dataset_arguments


def data_set(loader: Any) -> Any:
    """The Dataset whose interactions a loader of RecBole's goes through."""
    return loader._dataset


def dataset_keys() -> set[str]:
    """Keys of the settings that a Dataset is made from."""
    return set(dataset_arguments)


def add_dataset_keys(keys: Iterable[str]) -> None:
    """Have RecBole make a Dataset anew where one of these keys differs."""
    dataset_arguments.extend(key for key in keys if key not in dataset_arguments)
