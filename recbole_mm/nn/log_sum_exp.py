"""The normalisers of contrastive losses, without a matrix of all logits."""

from __future__ import annotations

from functools import reduce
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from recbole_mm.nn.distinct import distinct_rows

_TILE = (512, 1024)  # rows and columns of a dense product: 2 MB of logits, near a processor's rate
_NARROW = 8  # up to this width products that make a [m, d] matrix are far faster column by column
_WHOLE_ROWS = (1 << 20, 1 << 26)  # logits at one time where rows are not cut into tiles, without CUDA and with


def sum_of_log_sum_exp(
    x: Tensor, y: Tensor, left_out: int | None = None, x_ids: Tensor | None = None, y_ids: Tensor | None = None
) -> Tensor:
    r"""``\sum_i \ln \sum_j \exp <x_i, y_j>``, a scalar, with its gradients, in blocks of rows.

    Holds the logits of 512 rows at a time, ``[512, m]``; 4 MB of them where d is at most 8, 256 MB with CUDA.

    Args:
        x: ``[n, d]``.
        y: ``[m, d]``.
        left_out: where given, row i leaves out the term ``j = i + left_out``; ``n + left_out`` is at most m. Not
            together with ids.
        x_ids: ``[n]``, whose row each of x is: where two are the same, so are the rows. Each is computed once.
        y_ids: ``[m]``, the same of y.
    """
    x, x_counts = (x, None) if x_ids is None else distinct_rows(x, x_ids)
    y, y_counts = (y, None) if y_ids is None else distinct_rows(y, y_ids)
    return _SumOfLogSumExp.apply(x, y, left_out, x_counts, y_counts)


class _SumOfLogSumExp(Function):
    """The gradient is made with the value, while a block's logits are at hand.

    Row i of x counts ``x_counts[i]`` times, ``[n]``, and each term of y ``y_counts[j]`` times, ``[m]``.
    """

    @staticmethod
    def forward(ctx: Any, x: Any, y: Any, left_out: Any, x_counts: Any, y_counts: Any) -> Tensor:
        wanted = any(ctx.needs_input_grad)
        total = x.new_zeros(())
        weights = x.new_ones(len(x), 1) if x_counts is None else x_counts.to(x.dtype).unsqueeze(1)
        narrow = y.shape[1] <= _NARROW
        height, width = _tile(y, narrow)
        columns = [part.T.contiguous() for part in y.split(width)]
        repeats = None if y_counts is None else y_counts.to(x.dtype).log().split(width)
        grad_x = torch.empty_like(x)
        grad_y = y.new_zeros(y.shape[::-1]).T if narrow else torch.zeros_like(y)
        grad_y_parts = grad_y.split(width)
        logits = [x.new_empty(min(height, len(x)), part.shape[1]) for part in columns]
        for start in range(0, len(x), height):
            block = slice(start, start + height)
            rows, weight, row_grads = x[block], weights[block], grad_x[block]
            tiles = [tile[: len(rows)] for tile in logits]
            for number, tile in enumerate(tiles):
                if repeats is None:
                    torch.mm(rows, columns[number], out=tile)
                else:
                    torch.addmm(repeats[number], rows, columns[number], out=tile)
                if left_out is not None:
                    _leave_out(tile, start + left_out - number * width)
            largest = reduce(torch.maximum, (tile.amax(dim=1, keepdim=True) for tile in tiles))
            sums = torch.zeros_like(largest)
            for number, tile in enumerate(tiles):
                sums += tile.sub_(largest).exp_().sum(dim=1, keepdim=True)
                if wanted:
                    row_grads.addmm_(tile, columns[number].T, beta=min(number, 1))  # the first sets them
            total += ((largest + sums.log()) * weight).sum()
            if wanted:
                weight = weight / sums
                row_grads.mul_(weight)
                rows = rows * weight
                for tile, part_grads in zip(tiles, grad_y_parts, strict=True):
                    part_grads.addmm_(tile.T, rows)
        if wanted:
            ctx.save_for_backward(grad_x, grad_y)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        grad_x, grad_y = ctx.saved_tensors
        return grad_output * grad_x, grad_output * grad_y, None, None, None


def _tile(y: Tensor, narrow: bool) -> tuple[int, int]:
    """Rows and columns of the logits of one dense product.

    Tiles suit a processor's cache. Narrow rows take longer to pass over than to multiply, and small tiles would leave
    an accelerator idle: both have whole rows.
    """
    if narrow or y.is_cuda:
        return max(1, _WHOLE_ROWS[y.is_cuda] // len(y)), len(y)
    return _TILE


def _leave_out(tile: Tensor, first_column: int) -> None:
    """Take out of a tile's sums the term of each row that begins at this column, which may be in another tile."""
    if -len(tile) < first_column < tile.shape[1]:
        tile.diagonal(first_column).fill_(-torch.inf)
