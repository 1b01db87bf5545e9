"""Times keep the values of their file: RecBole makes every number of a data set float32.

At today's seconds since 1970 such numbers lie 128 apart, so that interactions of one session have no order, and neither
splits by time nor the sequences of its sequential models are right. A data set keeps its times as they are in the file,
float64, or int64 where float64 would round them; what it hands out in batches is float32, as models expect.
Line numbers are RecBole 1.2.1's.
"""

from __future__ import annotations

import math
from decimal import Decimal
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import torch
from recbole.data.dataset import Dataset
from recbole.data.interaction import Interaction
from recbole.utils import FeatureType

from recbole_mm.host.mend import mend, patch_in_place

LARGEST_EXACT = 2**53  # whole numbers above are rounded in float64


@cache
def apply() -> None:
    """Mend every data set. Called once, at import."""
    keep_ties_in_order()
    read_whole_bounds()
    split_by_sorted_times()
    keep_values()


def keep_ties_in_order() -> None:
    """data/dataset/dataset.py:853: which of a pair's interactions of one moment is the first is left to chance."""
    unstable = "by=[self.time_field], ascending=True, inplace=True"
    mend(Dataset._remove_duplication, unstable, f'{unstable}, kind="stable"')


def read_whole_bounds() -> None:
    """data/dataset/dataset.py:1003: bounds of ``val_interval`` become float64, which rounds nanoseconds."""
    read = "float(endpoint_pair[0]), float(endpoint_pair[1])"
    whole = "(int(bound) if bound.strip().isdigit() else float(bound) for bound in endpoint_pair)"
    mend(Dataset._parse_intervals_str, read, whole)


def split_by_sorted_times() -> None:
    """data/dataset/dataset.py:1764: times are sorted, the rows they are said to be of are not (``TS`` with ``RO``)."""
    rows = "grouped_index = np.array(grouped_index)"
    times = "self.inter_feat[self.time_field].numpy()"
    mend(Dataset.time_based_split, rows, f'{rows}[np.argsort({times}[grouped_index], kind="stable")]')
    # np.percentile rounds nanoseconds, not what passed since the first one
    mend(Dataset.time_based_split, "np.percentile(all_times,", "np.percentile(all_times - all_times.min(),")
    of_group = "times = grouped_inter_feat[self.time_field].numpy()"
    mend(Dataset.time_based_split, of_group, f"{of_group} - all_times.min()")
    # data/dataset/dataset.py:1779: 8 * (0.6 / (1 - 0.2)) is below 6 in binary, and a training interaction is lost of it
    share = "len(train_valid_index) * (ratios[0] / (1 - ratios[2]))"
    mend(Dataset.time_based_split, share, f"round({share}, 9)")


def keep_values() -> None:
    """data/dataset/dataset.py:1220 makes the column of times float32; data/dataset/dataset.py:1524 hands it out."""

    def change_feat_format(dataset: Any) -> None:
        field, frame = dataset.time_field, dataset.inter_feat
        times = frame[field] if field in frame and dataset.field2type[field] == FeatureType.FLOAT else None
        change(dataset)
        if times is not None:
            dataset.inter_feat[field] = _exact(times)

    def getitem(dataset: Any, index: Any, join: bool = True) -> Any:
        batch = get(dataset, index, join)
        if isinstance(batch, Interaction) and dataset.time_field is not None:
            for field in (dataset.time_field, dataset.time_field + (dataset.config["LIST_SUFFIX"] or "")):
                if field in batch:
                    batch[field] = batch[field].float()
        return batch

    change = patch_in_place(Dataset._change_feat_format, change_feat_format)
    get = patch_in_place(Dataset.__getitem__, getitem)


def _exact(times: pd.Series) -> torch.Tensor:
    """As float64 or int64 ``[n]``; ``[n, 2]``, the second one a constant, where they are embedded, too."""
    values = np.array(times.tolist()) if times.dtype == object else times.to_numpy(copy=True)
    return torch.from_numpy(values if values.dtype == np.int64 else values.astype(np.float64))


def exact_numbers(numbers: pd.Series, cells: pd.Series) -> pd.Series:
    """Numbers that sort as those of a file: int64 where float64 would round one of them, else float64.

    Decimals and larger numbers that float64 would make one are told apart by the least steps above the first one.

    Args:
        numbers: of the cells ``[n]``, NaN where there is none.
        cells: their texts.
    """
    if numbers.dtype == np.int64:
        return numbers if numbers.abs().max() > LARGEST_EXACT else numbers.astype(np.float64)
    numbers = numbers.astype(np.float64)
    texts = cells[numbers.notna()]
    if texts.nunique() <= numbers.nunique():
        return numbers
    exact = {text: Decimal(text.strip()) for text in texts.unique()}
    rounded, last = {}, -math.inf
    for value in sorted(set(exact.values())):
        last = rounded[value] = max(float(value), math.nextafter(last, math.inf))
    return cells.map({text: rounded[value] for text, value in exact.items()}).astype(np.float64)
