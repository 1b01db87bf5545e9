"""Rows of similarities as long as there are items, multiplied by weights without being made (MMSSL, WWW 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from recbole_mm.graph import SparseOperator
from recbole_mm.nn.normalise import l2_normalise

_EPSILON = 1e-12  # of l2_normalise
_SMALLEST_REST = 1e-4  # of a row's squares, as what is left of float32 below it is too inexact


@dataclass(frozen=True)
class MaskedSimilarities:
    r"""``L2n((U I^T) \odot (1 - A))``: products of users with all items, 0 at training items, at unit length.

    Args:
        users: U, ``[n, d]``.
        items: I, ``[n_items, d]``.
        training_items: A, 1 at training items, else 0, ``[n, n_items]``.
    """

    users: Tensor
    items: Tensor
    training_items: SparseOperator

    def dense(self) -> Tensor:
        """The rows, ``[n, n_items]``."""
        return l2_normalise(self.users @ self.items.T * (1 - self.training_items.dense_like(self.users)))


def times(parts: Sequence[MaskedSimilarities], weight: Tensor) -> Tensor:
    r"""The rows of all parts, one part below the other, by ``weight^T``; nothing as large as the rows is made.

    ``(U I^T) \odot (1 - A)`` is of rank d but for few entries. Where these are almost all of a row, so that the rest
    would be a small difference of large numbers, rows are made after all.

    Args:
        parts: k of them, of n users and the same training items.
        weight: ``[h, n_items]``.

    Returns:
        ``[k * n, h]``.
    """
    starts, items, _ = parts[0].training_items.entries(weight)
    owners = torch.repeat_interleave(starts.diff())
    own = [(F.embedding(owners, part.users) * F.embedding(items, part.items)).sum(dim=1) for part in parts]
    found = [_lengths(part, products, owners) for part, products in zip(parts, own, strict=True)]
    lengths = [of_part for of_part in found if of_part is not None]
    if len(lengths) < len(parts):
        return torch.cat([part.dense() for part in parts]) @ weight.T
    # One product with the weights for all parts: each would have a gradient as large as they are.
    tables = (weight @ torch.cat([part.items for part in parts], dim=1)).split(parts[0].items.shape[1], dim=1)
    of_all = torch.cat([part.users @ table.T for part, table in zip(parts, tables, strict=True)])
    ends = torch.cat([starts[:1], *(starts[1:] + number * len(items) for number in range(len(parts)))])
    of_own = F.embedding_bag(
        items.repeat(len(parts)), weight.T.contiguous(), ends, mode="sum", per_sample_weights=torch.cat(own),
        include_last_offset=True,
    )  # fmt: skip
    return (of_all - of_own) / torch.cat(lengths).to(of_all).unsqueeze(1)


def _lengths(part: MaskedSimilarities, own: Tensor, owners: Tensor) -> Tensor | None:
    """Lengths of a part's rows before they are scaled, ``[n]`` in float64, or None where a sum has too little left.

    Args:
        own: the products of users and their training items, ``[n_entries]``.
        owners: whose these are.
    """
    users, items = part.users.double(), part.items.double()
    squares = ((users @ (items.T @ items)) * users).sum(dim=1)
    rest = squares.index_add(0, owners, own.double().square(), alpha=-1)
    if bool((rest < _SMALLEST_REST * squares).any()):
        return None
    return rest.clamp(min=torch.finfo(rest.dtype).tiny).sqrt().clamp(min=_EPSILON)
