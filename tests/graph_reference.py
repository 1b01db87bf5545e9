"""Graphs by dense matrices, the item graphs differentiable, for the references of models."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from recbole_mm.graph import SparseOperator
from recbole_mm.testing.toy import Run


def kept_cosines(feature: Tensor, k: int) -> Tensor:
    """Cosine of each item with its k most similar items, itself included, else 0: ``[n_items, n_items]``.

    Row and column 0 ([PAD]) are zero. Random features have no ties.
    """
    rows = feature[1:] / feature[1:].norm(dim=1, keepdim=True)
    cosines = rows @ rows.T
    kept = torch.zeros_like(cosines).scatter(1, cosines.topk(k).indices, 1.0)
    graph = torch.zeros(len(feature), len(feature), dtype=feature.dtype)
    graph[1:, 1:] = cosines * kept
    return graph


def symmetric_by_rows(graph: Tensor) -> Tensor:
    """``v_ij / sqrt(r_i r_j)`` by the row sums r; a row without a positive sum counts as 0."""
    sums = graph.sum(1)
    roots = torch.where(sums > 0, sums.clamp(min=1e-300).rsqrt(), 0.0)
    return graph * roots[:, None] * roots


def similarity_graph(feature: Tensor, k: int) -> Tensor:
    """The similarity-weighted, symmetrically normalised kNN graph, ``[n_items, n_items]``."""
    return symmetric_by_rows(kept_cosines(feature, k))


def checked_item_graphs(run: Run, graphs: Sequence[SparseOperator], ks: Sequence[int]) -> list[Tensor]:
    """A model's item graphs of the features as loaded, dense, after a check against their definition.

    They were built before the model became float64: cosines and row sums of a few terms round at 6e-8.
    """
    checked = []
    for name, graph, k in zip(run.model.modalities, graphs, ks, strict=True):
        checked.append(graph.to_dense())
        expected = similarity_graph(run.dataset.modality_feature(name).double(), k)
        torch.testing.assert_close(checked[-1], expected, rtol=1e-5, atol=1e-6)
    return checked


def exact_symmetric_graph(dense: Tensor) -> Tensor:
    """``D^-1/2 A D^-1/2`` of users and items from the 0/1 interactions, nothing added to a degree."""
    n_users, n_items = dense.shape
    adjacency = torch.zeros(n_users + n_items, n_users + n_items, dtype=dense.dtype)
    adjacency[:n_users, n_users:], adjacency[n_users:, :n_users] = dense, dense.T
    return symmetric_by_rows(adjacency)


def row_graph_with_self(dense: Tensor) -> Tensor:
    """``(D + I)^-1 (A + I)`` of users and items; [PAD] rows are zero."""
    adjacency = (exact_symmetric_graph(dense) != 0).to(dense.dtype)
    adjacency.fill_diagonal_(1)
    adjacency[0] = adjacency[dense.shape[0]] = 0
    return adjacency / adjacency.sum(1, keepdim=True).clamp(min=1)
