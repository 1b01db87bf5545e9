"""A slip of RecBole's sequential data sets. Line numbers are RecBole 1.2.1's."""

from __future__ import annotations

from functools import cache
from typing import Any

import recbole.data.dataset.sequential_dataset as sequential
from recbole.data.dataset import SequentialDataset

from recbole_mm.host.mend import mend


@cache
def apply() -> None:
    """Mend every data set. Called once, at import.

    data/dataset/sequential_dataset.py:164: the column of sequences has that name only where items are ``item_id``.
    RecBole's issues 1593, 1813 and 1933.
    """
    sequential.sequence_field = sequence_field
    mend(SequentialDataset._benchmark_presets, "self.item_id_list_field", "sequence_field(self)")


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
