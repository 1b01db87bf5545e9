"""Graphs of what modalities agree on, and of items used together, on cases worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from recbole_mm.graph import BipartiteGraph, consistent_graphs, cooccurrence_graph


def angles(*degrees):
    """[PAD] and unit rows of these directions."""
    turns = torch.tensor(degrees, dtype=torch.float64) * math.pi / 180
    return torch.cat([torch.zeros(1, 2, dtype=torch.float64), torch.stack([turns.cos(), turns.sin()], dim=1)])


def neighbors(graph):
    return [set(np.flatnonzero(row)) for row in graph.to_dense().numpy()]


def test_a_pair_must_be_similar_in_every_modality():
    """By the first, 1, 2 and 3 belong together, by the second 1 and 2, 3 and 4."""
    first, second = angles(0, 10, 25, 180), angles(0, 20, 180, 190)
    graphs = consistent_graphs([first, second], 3)
    assert neighbors(graphs[0]) == neighbors(graphs[1]) == [set(), {1, 2}, {1, 2}, {3}, {4}]
    expected = torch.tensor([[2, 2, 0, 0], [2, 2, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], dtype=torch.float64)
    expected = torch.where(expected > 0, 1 / (expected + 1e-7), 0.0)
    torch.testing.assert_close(graphs[0].to_dense()[1:, 1:], expected, rtol=1e-14, atol=0)


def test_each_modality_has_its_own_order_of_what_is_kept():
    first, second = angles(0, 5, 20, 180), angles(0, 20, 5, 180)
    graphs = consistent_graphs([first, second], 2)
    assert [neighbors(graph)[1] for graph in graphs] == [{1, 2}, {1, 3}]


def test_rows_of_different_lengths_count_with_their_own():
    """The mean cosine is 0.114: 1 and 3 are too far apart, 2 is near to both."""
    graph = consistent_graphs([angles(0, 50, 95, 230)], 4)[0]
    assert neighbors(graph) == [set(), {1, 2}, {1, 2, 3}, {2, 3}, {4}]
    sizes = [0, 2, 3, 2, 1]
    for row, column in zip(*np.nonzero(graph.to_dense().numpy()), strict=True):
        expected = 1 / math.sqrt((sizes[row] + 1e-7) * (sizes[column] + 1e-7))
        assert graph.to_dense()[row, column].item() == pytest.approx(expected, rel=1e-13)


def test_the_mean_is_over_all_pairs_and_blocks_do_not_tell():
    features = torch.randn(40, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    whole = consistent_graphs([features, features[:, :3]], 5)
    small = consistent_graphs([features, features[:, :3]], 5, block_bytes=1)
    rows = [table[1:] / table[1:].norm(dim=1, keepdim=True) for table in (features, features[:, :3])]
    cosines = [table @ table.T for table in rows]
    kept = torch.stack([matrix >= matrix.mean() for matrix in cosines]).all(0)
    for graph, other in zip(whole, small, strict=True):
        assert torch.equal(graph.to_dense(), other.to_dense())
        assert (graph.to_dense()[1:, 1:].ne(0).sum(1) == kept.sum(1).clamp(max=5)).all()


def test_an_item_without_a_direction_is_alone():
    first, second = angles(0, 10, 20), angles(0, 10, 20)
    second[2] = 0
    found = neighbors(consistent_graphs([first, second], 3)[0])
    assert found[2] == {2}
    assert all(2 not in found[item] for item in (1, 3))


def test_items_used_together():
    """1 and 2 have three users in common, 1 and 3 two, 1 and 4 two, 2 and 3 one."""
    pairs = [(1, 1), (1, 2), (2, 1), (2, 2), (3, 1), (3, 2), (4, 1), (4, 3), (4, 4), (5, 1), (5, 3), (5, 4)]
    users, items = np.array(pairs).T
    graph = cooccurrence_graph(BipartiteGraph(users, items, 6, 6))
    assert neighbors(graph) == [set(), {1, 2, 3}, {1, 2}, {1, 3, 4}, {1, 3, 4}, {5}]
    assert graph.to_dense()[1, 2].item() == pytest.approx(1 / math.sqrt((3 + 1e-7) * (2 + 1e-7)), rel=1e-13)


@pytest.mark.parametrize("width", [3, 7, 64, 384])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_modality_whose_rows_are_all_alike_leaves_no_pair_out(width, dtype):
    """All of its cosines are 1, and so is their mean: rounding must not tell which of them are below it."""
    generator = torch.Generator().manual_seed(width)
    for _ in range(5):
        alike = torch.rand(1, width, generator=generator, dtype=dtype).expand(61, width)
        features = torch.randn(61, 6, generator=generator, dtype=dtype)
        alone = consistent_graphs([features], 5)[0]
        beside = consistent_graphs([features, alike], 5)
        assert torch.equal(beside[0].to_dense(), alone.to_dense())
        assert torch.equal(beside[1].to_dense().ne(0).sum(1), alone.to_dense().ne(0).sum(1))
