"""The normalisers of contrastive losses, without a matrix of all logits."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from recbole_mm.nn.distinct import distinct_rows

_BLOCK_ENTRIES = 1 << 20  # logits at one time: 4 MB, so that a block stays in a processor's cache
_NARROW = 8  # up to this width products that make a [m, d] matrix are far faster column by column


def sum_of_log_sum_exp(
    x: Tensor, y: Tensor, left_out: int | None = None, x_ids: Tensor | None = None, y_ids: Tensor | None = None
) -> Tensor:
    r"""``\sum_i \ln \sum_j \exp <x_i, y_j>``, a scalar, with its gradients, in blocks of rows.

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
    def forward(ctx, x, y, left_out, x_counts, y_counts):
        wanted = any(ctx.needs_input_grad)
        total = x.new_zeros(())
        columns = y.T.contiguous()
        repeats = None if y_counts is None else y_counts.to(x.dtype).log()
        weights = x.new_ones(len(x), 1) if x_counts is None else x_counts.to(x.dtype).unsqueeze(1)
        grad_x = torch.empty_like(x)
        grad_y = torch.zeros_like(columns).T if y.shape[1] <= _NARROW else torch.zeros_like(y)
        block_rows = max(1, _BLOCK_ENTRIES // len(y))
        for start in range(0, len(x), block_rows):
            block = slice(start, start + block_rows)
            rows, weight = x[block], weights[block]
            terms = rows @ columns if repeats is None else torch.addmm(repeats, rows, columns)
            if left_out is not None:
                terms.diagonal(start + left_out).fill_(-torch.inf)
            largest = terms.amax(dim=1, keepdim=True)
            sums = terms.sub_(largest).exp_().sum(dim=1, keepdim=True)
            total += ((largest + sums.log()) * weight).sum()
            if wanted:
                weight = weight / sums
                torch.mm(terms, columns.T, out=grad_x[block]).mul_(weight)
                grad_y.addmm_(terms.T, rows * weight)
        if wanted:
            ctx.save_for_backward(grad_x, grad_y)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_output):
        grad_x, grad_y = ctx.saved_tensors
        return grad_output * grad_x, grad_output * grad_y, None, None, None
