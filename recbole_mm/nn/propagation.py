"""Propagation over a graph: several sparse products and a readout, each with its own gradient.

The inputs may hold several modalities side by side, ``[n_nodes, n_modalities * d]``: one product serves all.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

from recbole_mm.graph import SparseOperator
from recbole_mm.registry import register_propagation

_EPSILON = 1e-8


def light_gcn(operator: SparseOperator, nodes: Tensor, n_layers: int, readout: str = "mean") -> Tensor:
    """LightGCN: ``x_{l+1} = G x_l`` and a readout of the layers.

    Args:
        operator: the normalised graph G, ``[n_nodes, n_nodes]``.
        nodes: layer 0, ``[n_nodes, width]``.
        n_layers: L, at least 0.
        readout: ``mean`` or ``sum`` of layers 0 to L, or the ``last`` layer.
    """
    if readout == "last":
        for _ in range(n_layers):
            nodes = operator @ nodes
        return nodes
    if readout not in ("mean", "sum"):
        raise ValueError(f"readout '{readout}' is unknown; choose mean, sum or last")
    if n_layers == 0:
        return nodes
    return _LightGCN.apply(nodes, operator, n_layers, n_layers + 1 if readout == "mean" else 1)


class _LightGCN(Function):
    """By hand, because the gradient is the same computation with the transposed graph, and no copies are needed."""

    @staticmethod
    def forward(ctx: Any, nodes: Any, operator: Any, n_layers: Any, divisor: Any) -> Tensor:
        ctx.operator, ctx.n_layers, ctx.divisor = operator, n_layers, divisor
        return _layer_sum(operator, nodes, n_layers).div_(divisor)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        grad_nodes = _layer_sum(ctx.operator.transpose(), grad.contiguous(), ctx.n_layers).div_(ctx.divisor)
        return grad_nodes, None, None, None


def _layer_sum(operator: SparseOperator, nodes: Tensor, n_layers: int) -> Tensor:
    """Sum of the layers 0 to L by Horner's scheme, ``x + G (x + G (x + ...))``; L is at least 1."""
    total = nodes
    for _ in range(n_layers):
        total = (operator @ total).add_(nodes)
    return total


@register_propagation("LayerGCN")
def layer_gcn(
    operator: SparseOperator,
    nodes: Tensor,
    n_layers: int,
    n_modalities: int = 1,
    include_layer_0: bool = True,
    rows: Tensor | None = None,
) -> Tensor:
    """LayerGCN: each layer is weighted by its cosine to layer 0, and the layers are summed.

    ``Z_l = G X_{l-1}``, ``X_l = cos(Z_l, X_0) * Z_l`` per node and modality, result ``sum_l X_l`` over the layers 1 to
    L, with layer 0 as POWERec adds it or without as LayerGCN's own paper.

    Args:
        operator: the normalised graph G, ``[n_nodes, n_nodes]``.
        nodes: X_0, ``[n_nodes, n_modalities * d]``.
        n_layers: L, at least 1.
        n_modalities: how many modalities stand side by side in `nodes`.
        include_layer_0: whether X_0 is part of the sum.
        rows: ``[n]`` nodes whose result is wanted, such as a batch's, repeated or not; all if not given. On a CPU the
            last layer and the sum are then computed for these nodes only.
    """
    if rows is None:
        return _LayerGCN.apply(nodes, operator, n_layers, n_modalities, include_layer_0, None)
    if nodes.device.type != "cpu":  # what follows would wait for the device
        return F.embedding(rows, layer_gcn(operator, nodes, n_layers, n_modalities, include_layer_0))
    distinct, positions = rows.unique(return_inverse=True)
    return F.embedding(
        positions, _LayerGCN.apply(nodes, operator, n_layers, n_modalities, include_layer_0, distinct)
    )


@register_propagation("LightGCN")
def light_gcn_of_rows(
    operator: SparseOperator,
    nodes: Tensor,
    n_layers: int,
    n_modalities: int = 1,
    include_layer_0: bool = True,
    rows: Tensor | None = None,
) -> Tensor:
    """:func:`light_gcn`'s mean of layers 0 to L, of the nodes `rows` or of all; arguments as :func:`layer_gcn`."""
    nodes = light_gcn(operator, nodes, n_layers)
    return nodes if rows is None else F.embedding(rows, nodes)


@register_propagation("BPR", uses_graph=False)
def no_propagation(
    operator: None,
    nodes: Tensor,
    n_layers: int,
    n_modalities: int = 1,
    include_layer_0: bool = True,
    rows: Tensor | None = None,
) -> Tensor:
    """The nodes as they are, as matrix factorisation has them; arguments as :func:`layer_gcn`."""
    return nodes if rows is None else F.embedding(rows, nodes)


class _LayerGCN(Function):
    """Written by hand: autograd's graph of the same formulae makes three times the passes over [n_nodes, M * d]."""

    @staticmethod
    def forward(
        ctx: Any,
        nodes: Tensor,
        operator: SparseOperator,
        n_layers: int,
        n_modalities: int,
        include_layer_0: bool,
        rows: Tensor | None,
    ) -> Tensor:
        ego = nodes.contiguous().view(nodes.shape[0], n_modalities, nodes.shape[1] // n_modalities)
        inverse_ego = _inverse_norm(ego)
        ego_rows = _take(ego, rows)
        total = ego_rows.clone() if include_layer_0 else torch.zeros_like(ego_rows)
        products, cosines, inverses = [], [], []
        layer = torch.empty_like(ego)
        previous = nodes
        for depth in range(n_layers):
            taken = rows if depth == n_layers - 1 else None
            x0, inverse_x0 = _take(ego, taken), _take(inverse_ego, taken)
            product = operator @ previous if taken is None else operator.product_rows(previous, taken)
            product = product.view(x0.shape)
            inverse = _inverse_norm(product)
            out = layer[: len(x0)]
            cosine = torch.mul(product, x0, out=out).sum(-1, keepdim=True).mul_(inverse).mul_(inverse_x0)
            torch.mul(product, cosine, out=out)
            total += out if taken is not None else _take(out, rows)
            previous = layer.view(nodes.shape)
            products.append(product)
            cosines.append(cosine)
            inverses.append(inverse)
        ctx.operator, ctx.include_layer_0, ctx.n_layers, ctx.rows = operator, include_layer_0, n_layers, rows
        ctx.save_for_backward(ego, inverse_ego, *products, *cosines, *inverses)
        return total.view(len(total), nodes.shape[1])

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        """With ``s = <g, Z>``: dZ = c g + s X0 / (|Z| |X0|) - s c Z / |Z|^2, and likewise for X0."""
        ego, inverse_ego, *saved = ctx.saved_tensors
        n_layers, rows, transpose = ctx.n_layers, ctx.rows, ctx.operator.transpose()
        products, cosines, inverses = (saved[i * n_layers : (i + 1) * n_layers] for i in range(3))
        grad_total = grad_layer = grad_output.contiguous().view(products[-1].shape)
        grad_ego, ego_share, scratch = torch.zeros_like(ego), torch.zeros_like(inverse_ego), torch.empty_like(ego)
        if ctx.include_layer_0:
            _add_to(grad_ego, rows, grad_total)
        for depth in reversed(range(n_layers)):
            taken = rows if depth == n_layers - 1 else None
            x0, inverse_x0 = _take(ego, taken), _take(inverse_ego, taken)
            product, cosine, inverse = products[depth], cosines[depth], inverses[depth]
            out = scratch[: len(x0)]
            share = torch.mul(grad_layer, product, out=out).sum(-1, keepdim=True)
            cross = share * inverse * inverse_x0
            share *= cosine
            _add_to(ego_share, taken, share)
            torch.mul(grad_layer, cosine, out=out)
            out.addcmul_(cross, x0).addcmul_(share * _slope(inverse), product, value=-1)
            if taken is None:
                grad_ego.addcmul_(cross, product)
            else:
                grad_ego.index_add_(0, taken, cross * product)
                out = torch.zeros_like(ego).index_copy_(0, taken, out)
            grad_layer = (transpose @ out.view(len(ego), -1)).view(ego.shape)
            if depth:
                _add_to(grad_layer, rows, grad_total)
        grad_ego += grad_layer
        grad_ego.addcmul_(ego_share * _slope(inverse_ego), ego, value=-1)
        return grad_ego.view(len(ego), -1), None, None, None, None, None


def _take(table: Tensor, rows: Tensor | None) -> Tensor:
    return table if rows is None else table.index_select(0, rows)


def _add_to(table: Tensor, rows: Tensor | None, values: Tensor) -> None:
    """Add `values` to some rows of a table, or to all, in place."""
    if rows is None:
        table += values
    else:
        table.index_add_(0, rows, values)


def _inverse_norm(rows: Tensor) -> Tensor:
    """1 / max(norm, eps) over the last axis, kept as an axis of size 1."""
    return torch.linalg.vector_norm(rows, dim=-1, keepdim=True).clamp_(min=_EPSILON).reciprocal_()


def _slope(inverse: Tensor) -> Tensor:
    """1 / norm^2, and 0 where the norm is held at eps: there it does not change with its row."""
    return inverse.square() * (inverse * _EPSILON < 1 - 1e-6)
