"""The linear map of a large feature table, or of some of its rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from recbole_mm.nn.gradient_memory import gradient_memory

_BLOCK_BYTES = 4 << 20  # rows at one time on a CPU: they stay in its cache from the copy to the product


def project_table(feature: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``feature @ weight^T + bias``, ``[n_items, d]``; a trained table's gradient is written where the last one was.

    Args:
        feature: ``[n_items, width]``; gets a gradient where it is trained.
        weight: ``[d, width]``.
        bias: ``[d]``.
    """
    if not (feature.requires_grad and feature.is_leaf) or torch.is_autocast_enabled(feature.device.type):
        return F.linear(feature, weight, bias)
    return _ProjectTable.apply(feature, weight, bias)


def project_rows(feature: Tensor, ids: Tensor, weight: Tensor) -> Tensor:
    """``feature[ids] @ weight^T``, ``[n, d]``, without a copy of all these rows, nor one of their gradient.

    Args:
        feature: ``[n_items, width]``; gets a gradient where it is trained.
        ids: distinct rows, ``[n]``.
        weight: ``[d, width]``.
    """
    return _ProjectRows.apply(feature, ids, weight)


class _ProjectTable(Function):
    @staticmethod
    def forward(ctx: Any, feature: Any, weight: Any, bias: Any) -> Tensor:
        ctx.save_for_backward(feature, weight)
        return F.linear(feature, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        feature, weight = ctx.saved_tensors
        _, needs_weight, needs_bias = ctx.needs_input_grad
        grad_feature = torch.mm(grad, weight, out=gradient_memory(feature))
        grad_weight = torch.mm(feature.T, grad).T if needs_weight else None  # as torch's own, to the bit
        return grad_feature, grad_weight, grad.sum(dim=0) if needs_bias else None


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
        grad_feature = gradient_memory(feature).zero_() if ctx.needs_input_grad[0] else None
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
