"""Scaling of the features of one modality: columns centred or standardised, then rows brought to length 1."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from recbole_mm.data.feature_table import row_blocks

SHORTEST = 1e-12
LEAST, LARGEST = 1e-15, 1e15  # lengths whose squares and their sums float32 holds


def check_magnitude(feature: np.ndarray, path: Path, token: Callable[[int], str]) -> None:
    """Raise ValueError for features `[item_num, width]` whose squares float32 does not hold, though they are finite.

    Args:
        path: of the file, for the message.
        token: gives the original id of an internal one.
    """
    largest, value, row = LARGEST, 0.0, 0
    for start, block in row_blocks(feature):
        if max(block.max(), -block.min()) > largest:  # the largest of all, as a mean of such values may stand before it
            place = int(np.argmax(np.abs(block)))
            row, value = start + place // block.shape[1], float(block.flat[place])
            largest = abs(value)
    if value:
        raise ValueError(
            f"{path}: item '{token(row)}' has a value of {value:.3g}, too large to compute with; scale the features, "
            f"or set standardize_feature: True or normalize_feature: True"
        )


@dataclass(frozen=True)
class FeatureScaling:
    """What is done to every feature row, those of a data set's file and those that an encoder makes later.

    Attributes:
        mean, deviation: of the columns over the items that have features, float32 `[width]`; None leaves them as they
            are. A column of one value has the deviation 1.
        normalize: whether rows are L2-normalised after that.
    """

    mean: np.ndarray | None = None
    deviation: np.ndarray | None = None
    normalize: bool = False

    @staticmethod
    def needs_columns(config: Any) -> bool:
        """Whether the keys ask for more than what a row alone decides."""
        return bool(config["center_feature"] or config["standardize_feature"])

    @classmethod
    def of(cls, feature: np.ndarray, present: np.ndarray, config: Any) -> FeatureScaling:
        """The scaling that the keys of the data set ask for.

        Args:
            feature: `[n, width]`, zero where an item has no row.
            present: bool `[n]`, the rows that count.
        """
        count = int(present.sum())
        normalize = bool(config["normalize_feature"])
        if not cls.needs_columns(config) or not count:
            return cls(normalize=normalize)
        mean = feature.sum(axis=0, dtype=np.float64) / count
        deviation = None
        if config["standardize_feature"]:
            squares = np.zeros_like(mean)
            for start, block in row_blocks(feature):
                squares += ((block[present[start : start + len(block)]] - mean) ** 2).sum(axis=0)
            deviation = np.sqrt(squares / count)
            deviation = np.where(deviation > 1e-6 * np.abs(mean), deviation, 1).astype(np.float32)
        return cls(mean.astype(np.float32), deviation, normalize)

    @property
    def centers(self) -> bool:
        """Whether the mean of the scaled rows is zero."""
        return self.mean is not None

    def scale_columns(self, feature: np.ndarray, present: np.ndarray) -> None:
        """Centre and standardise the rows `present` (bool `[n]`) of features `[n, width]`, in place."""
        if self.mean is None:
            return
        for start, block in row_blocks(feature):
            rows = present[start : start + len(block)]
            scaled = block[rows] - self.mean
            block[rows] = scaled if self.deviation is None else scaled / self.deviation

    def normalize_rows(self, feature: np.ndarray) -> None:
        """L2-normalise features `[n, width]` in place, where rows are to be."""
        if not self.normalize:
            return
        with np.errstate(over="ignore", under="ignore"):
            lengths = np.linalg.norm(feature, axis=1, keepdims=True)
        extreme = np.flatnonzero(~((lengths > LEAST) & (lengths < LARGEST)))  # float32 has no such squares
        rows = feature[extreme].astype(np.float64)
        feature /= np.maximum(lengths, SHORTEST)
        feature[extreme] = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), SHORTEST)

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        """Fresh rows `[n, width]` of an encoder, scaled as the data set's are."""
        if self.mean is not None:
            rows = rows - torch.from_numpy(self.mean).to(rows)
            if self.deviation is not None:
                rows = rows / torch.from_numpy(self.deviation).to(rows)
        return F.normalize(rows, dim=1) if self.normalize else rows
