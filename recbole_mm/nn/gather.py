"""Rows of one table for several id vectors."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def gather(table: Tensor, *ids: Tensor) -> tuple[Tensor, ...]:
    """Rows of one table for several id vectors, ``[batch, width]`` each: one gather, one scatter in the gradient."""
    return F.embedding(torch.cat(ids), table).split([len(batch) for batch in ids])
