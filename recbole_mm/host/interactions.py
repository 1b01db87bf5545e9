"""Slips of RecBole's data sets with interactions. Line numbers are RecBole 1.2.1's."""

from __future__ import annotations

from functools import cache
from typing import Any

import recbole.data.dataset.sequential_dataset as sequential
from recbole.data.dataset import SequentialDataset
from recbole.data.dataset.dataset import Dataset

from recbole_mm.host.mend import mend, patch_in_place


@cache
def apply() -> None:
    """Mend every data set. Called once, at import.

    data/dataset/sequential_dataset.py:164: the column of sequences has that name only where items are ``item_id``.
    RecBole's issues 1593, 1813 and 1933.

    data/dataset/dataset.py:1104: interactions whose user or item has no row in a file that is loaded go without a word.
    """
    tell_of_left_out()
    sequential.sequence_field = sequence_field
    mend(SequentialDataset._benchmark_presets, "self.item_id_list_field", "sequence_field(self)")


def tell_of_left_out() -> None:
    """Say how many interactions a ``.user`` or ``.item`` leaves out, and how they stay."""

    def filter_inter_by_user_or_item(dataset: Any) -> None:
        before = len(dataset.inter_feat)
        left_out(dataset)
        lost = before - len(dataset.inter_feat)
        if lost:
            dataset.logger.warning(
                f"{lost:,} of {before:,} interactions of {dataset.dataset_name} are left out: their users or items "
                "have no row in .user or .item; complete these, or leave them out of load_col"
            )

    left_out = patch_in_place(Dataset._filter_inter_by_user_or_item, filter_inter_by_user_or_item)


def sequence_field(dataset: Any) -> str:
    """The column of the items before, in files that are split already; raises ValueError where there is none."""
    config = dataset.config
    field = dataset.iid_field + config["LIST_SUFFIX"]
    if field not in dataset.inter_feat:
        raise ValueError(
            f"benchmark_filename: {config.model} takes the items before each one from a column {field}:token_seq of "
            f"the split files; add it and load it, or leave out benchmark_filename and split one .inter by eval_args"
        )
    if field not in (config["alias_of_item_id"] or ()):
        raise ValueError(f"alias_of_item_id: {field} has ids of items, which are numbered apart without it; add it")
    return field
