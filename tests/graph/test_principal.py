"""The spectral part of a user-item graph against the decomposition of the whole of it."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from recbole_mm.graph import BipartiteGraph, principal_graph


def random_graph(n_users: int, n_items: int, seed: int = 5) -> BipartiteGraph:
    rng = np.random.default_rng(seed)
    users, items = np.nonzero(rng.random((n_users - 1, n_items - 1)) < 0.2)
    return BipartiteGraph(users + 1, items + 1, n_users, n_items)


def of_the_whole(graph: BipartiteGraph, rank: int, kept: int, weights: str) -> np.ndarray:
    """The text's sum over singular triplets of the square matrix S, which is no more than its eigenvectors.

    A singular triplet of an eigenvalue e with vector x is ``|e|, x, sign(e) x``.
    """
    eigenvalues, vectors = np.linalg.eigh(graph.symmetric(epsilon=0.0).to_dense().numpy())
    order = np.argsort(-np.abs(eigenvalues), kind="stable")[:rank]
    s, u = np.abs(eigenvalues[order]), vectors[:, order]
    v = u * np.sign(eigenvalues[order])
    if weights == "product":
        return sum(s[j] * s[rank - kept + j] * np.outer(u[:, j], v[:, j]) for j in range(kept))
    return sum(s[j] * np.outer(u[:, j], v[:, j]) for j in [*range(kept), *range(rank - kept, rank)])


@pytest.mark.parametrize("weights", ["product", "bands"])
@pytest.mark.parametrize("n_users, n_items, rank, cut", [(30, 25, 16, 0.25), (80, 60, 8, 0.5)])
def test_equals_the_sum_over_the_whole_graph(n_users, n_items, rank, cut, weights):
    """By a dense decomposition of the block (the first) and by Lanczos's (the second)."""
    graph = random_graph(n_users, n_items)
    block = graph.user_item_block()
    found = principal_graph(block, rank, cut, threshold=0.0, weights=weights, block_bytes=8 * n_items * 7)
    expected = of_the_whole(graph, rank, int(cut * rank), weights)
    # singular values a hundredth apart, to whose vectors the rounding of 1e-16 goes a hundredfold
    np.testing.assert_allclose(found.to_dense().numpy(), expected, atol=1e-10)
    kept = principal_graph(block, rank, cut, threshold=0.01, weights=weights).to_dense().numpy()
    np.testing.assert_allclose(kept, np.where(np.abs(expected) < 0.01, 0, expected), atol=1e-10)
    assert 0 < np.count_nonzero(kept) < np.count_nonzero(np.abs(expected) > 1e-12)
    assert (kept < 0).any(), "negative entries stay"


def test_blocks_within_users_and_within_items_are_empty_and_the_rank_is_that_of_the_band():
    graph = random_graph(40, 30)
    dense = principal_graph(graph.user_item_block(), 16, 0.25, threshold=0.0).to_dense().numpy()
    assert not dense[:40, :40].any() and not dense[40:, 40:].any()
    assert np.linalg.matrix_rank(dense[:40, 40:]) == 2  # 4 of 16 values, in pairs
    assert np.linalg.matrix_rank(dense) == 4
    np.testing.assert_array_equal(dense, dense.T)


def test_pad_has_no_edge():
    kept = principal_graph(random_graph(40, 30).user_item_block(), 16, 0.25, threshold=1e-6).to_scipy()
    assert not kept[0].nnz and not kept[40].nnz


def test_memory_is_that_of_a_block_of_rows():
    """The product's blocks are as good as one: their height changes nothing but rounding."""
    block = random_graph(40, 30).user_item_block()
    whole, rows = (principal_graph(block, 8, 0.5, 1e-3, block_bytes=size) for size in (1 << 20, 1))
    assert (whole.to_scipy() != rows.to_scipy()).nnz == 0 or abs(whole.to_scipy() - rows.to_scipy()).max() < 1e-15
    assert isinstance(rows.to_scipy(), sp.csr_matrix)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"rank": 7}, "svd_rank 7"),
        ({"rank": 12}, "svd_cut: 0.25 of svd_rank 12 is 3 singular values; they come in pairs"),
        ({"rank": 2}, "svd_cut: 0.25 of svd_rank 2 is 0"),
        ({"rank": 8, "threshold": 1e9}, "svd_threshold: 1e\\+09 leaves nothing of the graph, whose largest entry is"),
        ({"rank": 64}, "svd_rank: 64 must be at most 58"),
        ({"rank": 8, "weights": "sum"}, "svd_weights: 'sum' is unknown; choose one of product, bands"),
    ],
)
def test_bad_arguments(settings, message):
    with pytest.raises(ValueError, match=message):
        principal_graph(random_graph(40, 30).user_item_block(), **settings)
