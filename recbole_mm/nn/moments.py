"""Mean and variance of all entries of a table, and how far two tables are apart in them."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from recbole_mm.nn.precision import full_precision
from recbole_mm.nn.sums import total


class Moments(NamedTuple):
    """Of all entries of a table together.

    Attributes:
        variance: a scalar, over the number of entries less one.
        mean: a scalar.
    """

    variance: Tensor
    mean: Tensor


def moments(*parts: Tensor, copies: int = 1) -> Moments:
    """Mean and variance of all entries of some tables together, of any shapes.

    Args:
        parts: such as the rows of users and of items.
        copies: how many times the parts stand side by side, which changes what the variance is divided by alone.
    """
    parts = tuple(map(full_precision, parts))
    n_entries = sum(part.numel() for part in parts)
    mean = total(part.sum() for part in parts) / n_entries
    squares = total((part - mean).square().sum() for part in parts)
    return Moments(copies * squares / (copies * n_entries - 1), mean)


def moment_gap(first: Moments, other: Moments) -> Tensor:
    """``|Var X - Var Y| + |mean X - mean Y|``, a scalar (MENTOR, AAAI 2025; GUME, CIKM 2024)."""
    return (first.variance - other.variance).abs() + (first.mean - other.mean).abs()
