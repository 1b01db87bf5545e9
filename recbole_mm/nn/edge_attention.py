"""Attention over the edges of a graph, and sums over edges whose weights are learned.

No tensor ``[n_edges, d]`` is ever made: what an edge needs of its two ends is a dot product, what a node
needs of its edges a weighted sum, and both, with their gradients, run over the rows of a CSR structure. In half
precision, which torch's sparse products lack, they are computed in float32.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from recbole_mm.graph import SparseOperator
from recbole_mm.nn.precision import full_precision


class EdgeSet(nn.Module):
    """Directed edges from sources to targets, in the order of their targets.

    Args:
        pattern: its stored entries are the edges, ``[n_targets, n_sources]``; their values are not used.

    Attributes:
        targets, sources: ends of each edge, ``[n_edges]``.
    """

    sources: Tensor
    targets: Tensor
    starts: Tensor
    starts_by_source: Tensor
    targets_by_source: Tensor
    edges_by_source: Tensor

    def __init__(self, pattern: SparseOperator) -> None:
        super().__init__()
        csr = pattern.to_scipy()
        self.n_targets, self.n_sources = csr.shape
        by_source = sp.csr_matrix((np.arange(csr.nnz), csr.indices, csr.indptr), csr.shape).tocsc()
        arrays = {
            "starts": csr.indptr,
            "sources": csr.indices,
            "targets": np.repeat(np.arange(self.n_targets), np.diff(csr.indptr)),
            "starts_by_source": by_source.indptr,
            "targets_by_source": by_source.indices,
            "edges_by_source": by_source.data,
        }
        for name, array in arrays.items():
            kind = np.int64 if name == "targets" else np.int32  # torch scatters by 64-bit indices only
            self.register_buffer(name, torch.from_numpy(array.astype(kind)), persistent=False)
        with warnings.catch_warnings():  # torch says once in a process that CSR tensors are in beta
            warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta", UserWarning)
            self._pattern(torch.zeros(1))

    def dots(self, targets: Tensor, sources: Tensor) -> Tensor:
        """``<x_target, y_source>`` of each edge, ``[n_edges]``, without a gradient."""
        pattern = self._pattern(targets)
        return torch.sparse.sampled_addmm(pattern, targets.detach(), sources.detach().T, beta=0.0).values()

    def _pattern(self, like: Tensor) -> Tensor:
        zeros = like.new_zeros(len(self.sources))
        shape = (self.n_targets, self.n_sources)
        return torch.sparse_csr_tensor(self.starts, self.sources, zeros, shape, check_invariants=False)

    def sum_to_targets(self, weights: Tensor, sources: Tensor) -> Tensor:
        """Weighted sum of its sources' rows at each target, ``[n_targets, d]``, without a gradient."""
        return _weighted_sum(sources, self.sources, self.starts, weights)

    def sum_to_sources(self, weights: Tensor, targets: Tensor) -> Tensor:
        """Weighted sum of its targets' rows at each source, ``[n_sources, d]``, without a gradient."""
        weights = weights.index_select(0, self.edges_by_source)
        return _weighted_sum(targets, self.targets_by_source, self.starts_by_source, weights)

    def sum_rows_to_sources(self, rows: Tensor) -> Tensor:
        """Sum of the rows ``[n_edges, d]`` of its edges at each source, ``[n_sources, d]``, without a gradient."""
        return _weighted_sum(rows, self.edges_by_source, self.starts_by_source)

    def sums_at_targets(self, values: Tensor) -> Tensor:
        """The sum of the values of each edge's target, ``[n_edges]``, without a gradient."""
        sums = values.new_zeros(self.n_targets).scatter_add_(0, self.targets, values.detach())
        return sums.index_select(0, self.targets)


def _weighted_sum(rows: Tensor, indices: Tensor, starts: Tensor, weights: Tensor | None = None) -> Tensor:
    # Detached: for rows that require a gradient torch prepares its own backward, at several times the cost.
    rows, weights = rows.detach().contiguous(), None if weights is None else weights.detach().contiguous()
    return F.embedding_bag(
        indices, rows, starts, mode="sum", per_sample_weights=weights, include_last_offset=True
    )


def attend(edges: EdgeSet, scores: Tensor, sources: Tensor) -> tuple[Tensor, Tensor]:
    """What each target gathers from its sources.

    Args:
        scores: of the edges, ``[n_edges]``, cosines or as small.
        sources: ``[n_sources, d]``.

    Returns:
        the sum of the sources weighted by their attention, ``[n_targets, d]``, zero without edges, and the
        attention of each edge, ``[n_edges]``, the softmax of the scores at each target.
    """
    attention = edge_softmax(edges, scores)
    return edge_sum(edges, attention, sources), attention


def edge_dot(edges: EdgeSet, targets: Tensor, sources: Tensor) -> Tensor:
    """``<x_target, y_source>`` of each edge, ``[n_edges]``, with gradients to both ends."""
    return _EdgeDot.apply(full_precision(targets), full_precision(sources), edges)


def edge_sum(edges: EdgeSet, weights: Tensor, sources: Tensor) -> Tensor:
    """Weighted sum of its sources at each target, ``[n_targets, d]``, with gradients to weights and sources.

    Args:
        weights: ``[n_edges]``.
        sources: ``[n_sources, d]``.
    """
    return _EdgeSum.apply(full_precision(weights), full_precision(sources), edges)


def edge_softmax(edges: EdgeSet, scores: Tensor) -> Tensor:
    """Softmax of the edges' scores over the edges of each target, ``[n_edges]``.

    For scores of at most 80, such as the cosines of unit vectors: their exponentials are taken as they are.
    """
    return _EdgeSoftmax.apply(full_precision(scores), edges)


def turn(edges: EdgeSet, turned: EdgeSet, values: Tensor) -> Tensor:
    """Values of edges, ``[n_edges]``, in the order of the same edges from targets to sources.

    Args:
        turned: the edge set of the transposed pattern.
    """
    return _Turn.apply(values, edges, turned)


def at_sources(edges: EdgeSet, table: Tensor) -> Tensor:
    """The row of each edge's source, ``[n_edges, d]``.

    Args:
        table: ``[n_sources, d]``.
    """
    return _AtSources.apply(table, edges)


class _Turn(Function):
    @staticmethod
    def forward(ctx: Any, values: Any, edges: Any, turned: Any) -> Tensor:
        ctx.order = turned.edges_by_source
        return values.index_select(0, edges.edges_by_source)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return grad.index_select(0, ctx.order), None, None


class _AtSources(Function):
    @staticmethod
    def forward(ctx: Any, table: Any, edges: Any) -> Tensor:
        ctx.edges = edges
        return table.index_select(0, edges.sources)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return ctx.edges.sum_rows_to_sources(grad), None


class _EdgeDot(Function):
    @staticmethod
    def forward(ctx: Any, targets: Any, sources: Any, edges: Any) -> Tensor:
        ctx.edges = edges
        ctx.save_for_backward(targets, sources)
        return edges.dots(targets, sources)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        targets, sources = ctx.saved_tensors
        to_targets = ctx.edges.sum_to_targets(grad, sources) if ctx.needs_input_grad[0] else None
        to_sources = ctx.edges.sum_to_sources(grad, targets) if ctx.needs_input_grad[1] else None
        return to_targets, to_sources, None


class _EdgeSum(Function):
    @staticmethod
    def forward(ctx: Any, weights: Any, sources: Any, edges: Any) -> Tensor:
        ctx.edges = edges
        ctx.save_for_backward(weights, sources)
        return edges.sum_to_targets(weights, sources)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        weights, sources = ctx.saved_tensors
        to_weights = ctx.edges.dots(grad, sources) if ctx.needs_input_grad[0] else None
        to_sources = ctx.edges.sum_to_sources(weights, grad) if ctx.needs_input_grad[1] else None
        return to_weights, to_sources, None


class _EdgeSoftmax(Function):
    @staticmethod
    def forward(ctx: Any, scores: Any, edges: Any) -> Tensor:
        exponentials = scores.exp()
        softmax = exponentials.div_(edges.sums_at_targets(exponentials))
        ctx.edges = edges
        ctx.save_for_backward(softmax)
        return softmax

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """``p * (g - sum_target p g)``."""
        (softmax,) = ctx.saved_tensors
        weighted = softmax * grad
        return weighted.addcmul_(softmax, ctx.edges.sums_at_targets(weighted), value=-1), None
