"""Weights of the imputers, against dense float64 matrices built as Malitesta et al. (2024) write them."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg

from recbole_mm.graph import BipartiteGraph
from recbole_mm.graph.imputation import IMPUTERS, imputing_weights


def reference(interactions: np.ndarray, kind: str, k: int) -> np.ndarray:
    """``[n_items, n_items]`` without [PAD]."""
    n_items = interactions.shape[1]
    counts = interactions.T @ interactions
    binary = np.zeros_like(counts)
    for item, row in enumerate(counts):
        for other in sorted(range(n_items), key=lambda j: (-row[j], j))[:k]:
            binary[item, other] = float(row[other] > 0)
    if kind in ("neighbor_mean", "multi_hop"):
        np.fill_diagonal(binary, 0)
        if kind == "neighbor_mean":
            return binary
    else:
        binary = binary + np.eye(n_items)
    degrees = binary.sum(axis=1)
    inverse_roots = np.array([degree**-0.5 if degree else 0.0 for degree in degrees])
    normal = inverse_roots[:, None] * binary * inverse_roots
    if kind == "multi_hop":
        return normal
    whole = np.eye(n_items)
    series = {"pagerank": lambda: 0.1 * np.linalg.inv(whole - 0.9 * normal),
              "heat": lambda: scipy.linalg.expm(-5 * (whole - normal))}  # fmt: skip
    found = series[kind]()
    kept = np.zeros_like(found)
    for item, column in enumerate(found.T):
        for other in sorted(range(n_items), key=lambda i: (-round(column[i], 9), i))[:k]:
            kept[other, item] = column[other]
    return kept / kept.sum(axis=0)


def graph_of(interactions: np.ndarray) -> BipartiteGraph:
    users, items = np.nonzero(interactions)
    return BipartiteGraph(users + 1, items + 1, interactions.shape[0] + 1, interactions.shape[1] + 1)


@pytest.mark.parametrize("kind", IMPUTERS)
@pytest.mark.parametrize("k", [1, 3, 50])
def test_against_dense_matrices(kind, k):
    """Fifty neighbours are more than there are items; the last item has no interaction."""
    interactions = (np.random.default_rng(0).random((40, 17)) < 0.2).astype(float)
    interactions[:, -1] = 0
    graph = graph_of(interactions)
    for block_bytes in (64 << 20, 1):
        found = imputing_weights(graph, kind, k, block_bytes=block_bytes).to_dense().numpy()
        assert not found[0].any() and not found[:, 0].any()
        np.testing.assert_allclose(found[1:, 1:], reference(interactions, kind, min(k, 17)), rtol=1e-4, atol=2e-6)


def test_by_hand():
    """Users have {1, 2}, {1, 2} and {2, 3}: two items each, of 1 are 1 and 2, of 2 are 2 and 1, of 3 are 2 and 3."""
    graph = graph_of(np.array([[1, 1, 0], [1, 1, 0], [0, 1, 1]]))
    mean = imputing_weights(graph, "neighbor_mean", 2).to_dense().numpy()[1:, 1:]
    assert mean.tolist() == [[0, 1, 0], [1, 0, 0], [0, 1, 0]]
    assert imputing_weights(graph, "multi_hop", 2).to_dense().numpy()[1:, 1:].tolist() == mean.tolist()
