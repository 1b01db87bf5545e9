"""Computations done once for each distinct row of a batch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor


def at_distinct(compute: Callable[[Tensor], Tensor], *ids: Tensor) -> tuple[Tensor, ...]:
    """``compute`` at the rows of several id vectors, each distinct row computed once.

    Projecting the features of a batch's items then costs as much as there are distinct items, not rows of the
    batch or of the table; and what `compute` draws at random is drawn once for a row.

    Args:
        compute: ids ``[n]`` to rows ``[n, width]``; a row depends on its own id only.
        ids: id vectors, ``[batch]`` each.

    Returns:
        One ``[batch, width]`` per id vector.
    """
    distinct, place = torch.unique(torch.cat(ids), return_inverse=True)
    return F.embedding(place, compute(distinct)).split([len(tensor) for tensor in ids])


def at_distinct_of_kinds(
    compute: Callable[[int, Tensor], Tensor], kinds: Tensor, ids: Tensor, n_kinds: int
) -> Tensor:
    """``compute`` at rows that each are of one of several kinds, each distinct row of a kind computed once.

    Args:
        compute: a kind, and ids ``[n]``, to rows ``[n, width]``; a row depends on its own id only.
        kinds: from 0 to below `n_kinds`, any shape.
        ids: of the same shape.

    Returns:
        ``[n, width]``, in the order of the flattened ids.
    """
    kinds, ids = kinds.flatten(), ids.flatten()
    order = kinds.argsort(stable=True)
    parts = [
        at_distinct(partial(compute, kind), ids[rows])[0]
        for kind, rows in enumerate(order.split(kinds.bincount(minlength=n_kinds).tolist()))
        if len(rows)
    ]
    return F.embedding(order.argsort(), torch.cat(parts))


def distinct_rows(rows: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """One row of each id, ``[n_distinct, width]``, and how often the id occurs, ``[n_distinct]``; by rising id.

    Args:
        rows: ``[n, width]``; those of one id are equal.
        ids: ``[n]``.
    """
    _, place, counts = torch.unique(ids, return_inverse=True, return_counts=True)
    first = place.argsort(stable=True)[counts.cumsum(0) - counts]
    return F.embedding(first, rows), counts
