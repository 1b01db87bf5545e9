from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from recbole_mm.graph import BipartiteGraph, SparseOperator, agreeing_neighbors, enhanced_graph

# items 1 to 4, of which 4 has no interaction; users 1 to 3, of which 3 has none
GRAPH = BipartiteGraph([1, 1, 2], [1, 2, 2], 4, 5)


def knn(*edges: tuple[int, int]) -> SparseOperator:
    """Item edges and each item's own, of values that do not count."""
    rows, cols = zip(*edges, *((item, item) for item in range(1, 5)), strict=True)
    return SparseOperator.from_coo(rows, cols, np.linspace(-0.3, 0.9, len(rows)), (5, 5))


def test_edges_are_those_of_all_graphs_without_an_items_own():
    graphs = [knn((4, 1), (4, 2), (1, 2)), knn((4, 1), (4, 3), (1, 2)), knn((1, 2), (4, 1), (2, 3))]
    agreed = agreeing_neighbors(graphs).to_scipy()
    assert sorted(zip(*agreed.nonzero(), strict=True)) == [(1, 2), (4, 1)] and set(agreed.data) == {1.0}
    mirrored = agreeing_neighbors(graphs, symmetric=True).to_scipy()
    assert sorted(zip(*mirrored.nonzero(), strict=True)) == [(1, 2), (1, 4), (2, 1), (4, 1)]
    both_ways = agreeing_neighbors([*graphs, knn((1, 2), (2, 1))], symmetric=True)
    assert set(both_ways.to_scipy().data) == {1.0}
    assert agreeing_neighbors([knn((4, 1), (2, 3))]).nnz == 2  # one modality: its own list


def test_normalised_by_row_sums_on_both_sides_by_hand():
    """Row sums: user 1 two items, user 2 one; item 1 one user and item 2, item 2 two users, item 4 item 1 alone."""
    dense = enhanced_graph(GRAPH, agreeing_neighbors([knn((1, 2), (4, 1))])).to_dense()
    sums = {1: 2, 2: 1, 4 + 1: 2, 4 + 2: 2, 4 + 4: 1}
    edges = [(1, 5), (1, 6), (2, 6), (5, 1), (6, 1), (6, 2), (5, 6), (8, 5)]
    expected = torch.zeros(9, 9, dtype=torch.float64)
    for row, col in edges:
        expected[row, col] = 1 / math.sqrt(sums[row] * sums[col])
    torch.testing.assert_close(dense, expected)


def test_an_edge_to_an_item_whose_row_is_empty_is_none():
    dense = enhanced_graph(GRAPH, agreeing_neighbors([knn((1, 3))])).to_dense()
    assert not dense[:, 4 + 3].any() and not dense[4 + 3].any()
    assert dense[1, 5].item() == pytest.approx(1 / math.sqrt(2 * 2)), "and still counts in the sum of its row"


def test_without_item_edges_it_is_the_symmetric_graph():
    empty = agreeing_neighbors([knn(), knn((1, 2))])
    assert empty.nnz == 0
    torch.testing.assert_close(enhanced_graph(GRAPH, empty).to_dense(), GRAPH.symmetric(epsilon=0.0).to_dense())
