"""The linear map of some rows of a large feature table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

_BLOCK_BYTES = 4 << 20  # rows at one time on a CPU: they stay in its cache from the copy to the product


def project_rows(feature: Tensor, ids: Tensor, weight: Tensor) -> Tensor:
    """``feature[ids] @ weight^T``, ``[n, d]``, without a copy of all these rows, nor one of their gradient.

    Args:
        feature: ``[n_items, width]``; gets a gradient where it is trained.
        ids: distinct rows, ``[n]``.
        weight: ``[d, width]``.
    """
    return _ProjectRows.apply(feature, ids, weight)


class _ProjectRows(Function):
    @staticmethod
    def forward(ctx: Any, feature: Any, ids: Any, weight: Any) -> Tensor:
        ctx.save_for_backward(feature, ids, weight)
        projected = feature.new_empty(len(ids), len(weight))
        for block, rows in _blocks(feature, ids):
            torch.mm(rows, weight.T, out=projected[block])
        return projected

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        feature, ids, weight = ctx.saved_tensors
        grad_feature = torch.zeros_like(feature) if ctx.needs_input_grad[0] else None
        grad_weight = weight.new_zeros(weight.shape)
        for block, rows in _blocks(feature, ids):
            grad_weight.addmm_(grad[block].T, rows)
            if grad_feature is not None:
                grad_feature.index_copy_(0, ids[block], torch.mm(grad[block], weight, out=rows))
        return grad_feature, None, grad_weight


def _blocks(feature: Tensor, ids: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Parts of `ids` and copies of their rows, which the next part overwrites."""
    row_bytes = feature.shape[1] * feature.element_size()
    size = max(1, _BLOCK_BYTES // row_bytes) if feature.device.type == "cpu" else len(ids)
    buffer = feature.new_empty(min(size, len(ids)), feature.shape[1])
    for start in range(0, len(ids), max(size, 1)):
        block = slice(start, min(start + size, len(ids)))
        yield block, torch.index_select(feature, 0, ids[block], out=buffer[: block.stop - start])
