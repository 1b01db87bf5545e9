"""Sums of tensors."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from operator import add

from torch import Tensor


def total(terms: Iterable[Tensor]) -> Tensor:
    """The sum of tensors of one shape, from the first to the last; of none it raises TypeError."""
    return reduce(add, terms)
