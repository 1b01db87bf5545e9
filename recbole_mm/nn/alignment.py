"""The two alignments of DA-MRS (KDD 2024), in blocks of rows, with gradients by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

_BLOCK_LOGITS = 1 << 22  # at one time
_EPSILON = 1e-9


def preference_alignment(users: Tensor, first: Tensor, other: Tensor) -> Tensor:
    r"""How far two item tables are apart in what users make of them: mean over pairs of a symmetric Bernoulli KL.

    With :math:`x = <u, a_i>`, :math:`y = <u, b_i>`, g = sigma(x), c = sigma(y) it is
    ``KL(g||c) + KL(c||g) = (g - c) (x - y)``: no logarithm is taken.

    Args:
        users: u, ``[n, d]``.
        one: a, ``[m, d]``.
        other: b, ``[m, d]``.
    """
    return _PreferenceAlignment.apply(users, first, other)


class _PreferenceAlignment(Function):
    @staticmethod
    def forward(ctx: Any, users: Any, first: Any, other: Any) -> Tensor:
        total = users.new_zeros(())
        grads = [torch.zeros_like(table) for table in (users, first, other)]
        with torch.autocast(users.device.type, enabled=False):
            for rows, grad_rows in zip(*(t.split(_height(first)) for t in (users, grads[0])), strict=True):
                x, y = rows @ first.T, rows @ other.T
                g, c = x.sigmoid(), y.sigmoid()
                x -= y
                difference = g - c
                total += (difference * x).sum()
                to_x = torch.addcmul(difference, g * (1 - g), x)
                to_y = torch.addcmul(difference, c * (1 - c), x).neg_()
                grad_rows.addmm_(to_x, first).addmm_(to_y, other)
                grads[1].addmm_(to_x.T, rows)
                grads[2].addmm_(to_y.T, rows)
        ctx.n_pairs = len(users) * len(first)
        ctx.save_for_backward(*grads)
        return total / ctx.n_pairs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        return tuple(table * (grad / ctx.n_pairs) for table in ctx.saved_tensors)


def relation_alignment(tables: Sequence[Tensor], anchors: Tensor, size: int, temperature: float) -> Tensor:
    r"""Contrast of items with those that all graphs relate them to, and with those that one graph relates them to.

    Per table a and anchor, with ``e_j = exp(cos(h_anchor, h_j) / tau)``, T their sum over all items,
    ``P^a = softmax_j cos``, J the `size` items of largest ``\sum_{b != a} P^b + 2 P^a`` and O the `size` items of
    largest ``P^a`` outside J:

    .. math:: -\ln(\sum_J e / T + 10^{-9}) - \ln(\sum_O e / (T - \sum_J e) + 10^{-9})

    as the mean over anchors and tables. The sets have no gradient; the item itself is one of the candidates.

    Args:
        tables: rows of unit length, ``[n, d]`` each, without [PAD].
        anchors: ``[m]`` rows of the tables.
        size: of each set; twice that is at most n.
        temperature: tau.
    """
    return _RelationAlignment.apply(anchors, size, temperature, *tables)


class _RelationAlignment(Function):
    @staticmethod
    def forward(ctx: Any, anchors: Any, size: Any, temperature: Any, *tables: Any) -> Tensor:
        total = tables[0].new_zeros(())
        grads = [torch.zeros_like(table) for table in tables]
        with torch.autocast(anchors.device.type, enabled=False):
            for block in anchors.split(_height(tables[0])):
                cosines = [table[block] @ table.T for table in tables]
                probabilities = [cosine.softmax(dim=1) for cosine in cosines]
                joint = sum(probabilities)
                for table, grad, cosine, own in zip(tables, grads, cosines, probabilities, strict=True):
                    shared = (joint + own).topk(size, dim=1).indices
                    separate = own.scatter(1, shared, 0.0).topk(size, dim=1).indices
                    loss, to_cosine = _relation_loss(cosine, shared, separate, temperature)
                    total += loss
                    grad.index_add_(0, block, to_cosine @ table)
                    grad.addmm_(to_cosine.T, table[block])
        ctx.n_terms = len(anchors) * len(tables)
        ctx.save_for_backward(*grads)
        return total / ctx.n_terms

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, None, *(table * (grad / ctx.n_terms) for table in ctx.saved_tensors)


def _relation_loss(cosine: Tensor, shared: Tensor, separate: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """The loss of one table, summed over anchors, and its gradient with respect to the cosines ``[n_rows, n]``."""
    e = (cosine / temperature).exp()
    total = e.sum(dim=1, keepdim=True)
    in_shared, in_separate = (e.gather(1, items).sum(dim=1, keepdim=True) for items in (shared, separate))
    rest = total - in_shared
    first, second = in_shared / total + _EPSILON, in_separate / rest + _EPSILON
    loss = -(first.log() + second.log()).sum()
    to_total, to_rest = in_shared / total.square() / first, in_separate / rest.square() / second
    coefficient = (to_total + to_rest).expand_as(e).clone()
    coefficient.scatter_add_(1, shared, (-1 / (total * first) - to_rest).expand_as(shared))
    coefficient.scatter_add_(1, separate, (-1 / (rest * second)).expand_as(separate))
    return loss, coefficient.mul_(e).div_(temperature)


def _height(table: Tensor) -> int:
    return max(1, _BLOCK_LOGITS // len(table))
