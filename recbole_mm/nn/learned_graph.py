"""Item graphs learned from projected features: sparse, with gradients through the kept similarities.

Which items are neighbours is a choice and passes no gradient; how similar they are does. Nothing here is of
size ``[n_items, n_items]``: a graph is its k neighbours per item, and their values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from recbole_mm.graph import SparseOperator, combine, knn_neighbors
from recbole_mm.nn.normalise import l2_normalise
from recbole_mm.nn.precision import full_precision

_BLOCK_BYTES = 8 << 20  # work space of the neighbour search: narrow features are searched fastest in cache


def similar_items(features: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k items of largest cosine to each item, itself included, with the cosines' gradient.

    Args:
        features: ``[n_items, d]``; row 0 is [PAD], nobody's neighbour and without one.
        k: neighbours per item, at most ``n_items - 1``.

    Returns:
        item ids ``[n_items, k]`` and cosines ``[n_items, k]``; id 0 and cosine 0 where there is no neighbour.

    Raises:
        ValueError: k out of range, or features that are not finite.
    """
    features = full_precision(features)
    neighbors, cosines = knn_neighbors(features.detach(), k, block_bytes=_BLOCK_BYTES)
    return neighbors, _PairCosines.apply(l2_normalise(features), neighbors, cosines)


class _PairCosines(Function):
    """Gives known cosines their gradient, without the ``[n_items, k, d]`` of all neighbours' rows.

    With ``c_ij = <x_i, x_j>`` of unit rows and G the matrix of the gradients, that of x is ``(G + G^T) x``.
    """

    @staticmethod
    def forward(ctx: Any, directions: Any, neighbors: Any, cosines: Any) -> Tensor:
        ctx.save_for_backward(directions, neighbors)
        return cosines.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        directions, neighbors = ctx.saved_tensors
        gradients = _operator(neighbors, grad)
        return gradients @ directions + gradients.transpose() @ directions, None, None


def normalise_symmetrically(neighbors: Tensor, values: Tensor) -> Tensor:
    """``v_ij / sqrt(r_i r_j)`` with the row sums r; where one is not positive, ``1 / sqrt(r)`` counts as 0.

    Args:
        neighbors, values: ``[n_items, k]``; a neighbour may stand in a row several times, its values add up.
    """
    sums = values.sum(dim=1, keepdim=True)
    positive = sums > 0
    inverse_roots = torch.where(positive, sums, 1.0).rsqrt() * positive
    return values * inverse_roots * F.embedding(neighbors, inverse_roots).squeeze(2)


class BlendedGraph:
    r"""``(1 - \lambda) L + \lambda \sum_m a_m S^m``: a learned item graph and constant ones (LATTICE).

    ``graph @ x`` takes ``[n_items, d]`` and passes gradients to `x`, to the learned values and to the a.

    Args:
        neighbors, values: L, ``[n_items, k]`` each; id 0 stands for no neighbour and has value 0.
        raw_graphs: the constant graphs ``S^m``.
        raw_weights: ``[len(raw_graphs)]``, the a.
        raw_share: lambda.
    """

    def __init__(
        self,
        neighbors: Tensor,
        values: Tensor,
        raw_graphs: Sequence[SparseOperator],
        raw_weights: Tensor,
        raw_share: float,
    ):
        self.neighbors = neighbors
        self.values = (1 - raw_share) * values
        self.raw_graphs = raw_graphs
        self.raw_weights = raw_share * raw_weights

    def __matmul__(self, x: Tensor) -> Tensor:
        product = F.embedding_bag(self.neighbors, x, per_sample_weights=self.values, mode="sum")
        for weight, graph in zip(self.raw_weights, self.raw_graphs, strict=True):
            product = product + weight * (graph @ x)
        return product

    def constant(self) -> SparseOperator:
        """The same graph as one operator, which passes gradients to `x` only."""
        learned = _operator(self.neighbors, self.values.detach())
        return combine([learned, *self.raw_graphs], [1.0, *self.raw_weights.tolist()])


def _operator(neighbors: Tensor, values: Tensor) -> SparseOperator:
    """The matrix of ``[n_items, k]`` neighbours and values; id 0 stands for no neighbour."""
    rows, slots = neighbors.nonzero(as_tuple=True)
    shape = (len(neighbors), len(neighbors))
    return SparseOperator.from_coo(rows, neighbors[rows, slots], values[rows, slots], shape)
