"""Learned item graphs: values, gradients, and the constant operator made of them."""

from __future__ import annotations

import pytest
import torch

from recbole_mm.graph import SparseOperator
from recbole_mm.nn.learned_graph import BlendedGraph, normalise_symmetrically, similar_items
from tests.graph_reference import kept_cosines, symmetric_by_rows

N_ITEMS, WIDTH = 9, 4


@pytest.fixture
def features():
    generator = torch.Generator().manual_seed(2)
    return torch.randn(N_ITEMS, WIDTH, generator=generator, dtype=torch.float64, requires_grad=True)


def dense(neighbors, values):
    """``[n_items, n_items]``; what stands in a row several times adds up."""
    return torch.zeros(N_ITEMS, N_ITEMS, dtype=torch.float64).scatter_add(1, neighbors, values)


@pytest.mark.parametrize("k", [1, 3, 8])
def test_similar_items_and_their_gradient(features, k):
    neighbors, cosines = similar_items(features, k)
    expected = kept_cosines(features, k)
    # float64 dot products of four terms
    torch.testing.assert_close(dense(neighbors, cosines), expected, rtol=1e-12, atol=1e-14)
    probe = torch.rand(N_ITEMS, N_ITEMS, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    gradients = [torch.autograd.grad((graph * probe).sum(), features)[0]
                 for graph in (dense(neighbors, cosines), expected)]  # fmt: skip
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-13)


def test_pad_has_no_neighbour_and_is_none(features):
    neighbors, cosines = similar_items(features, 3)
    assert not neighbors[0].any() and not cosines[0].any()
    assert neighbors[1:].all()
    (gradient,) = torch.autograd.grad(cosines.sum(), features)
    assert not gradient[0].any() and gradient[1:].any()


def test_an_item_without_direction_is_finite(features):
    with torch.no_grad():
        features[4] = 0.0
    neighbors, cosines = similar_items(features, 3)
    values = normalise_symmetrically(neighbors, cosines)
    (gradient,) = torch.autograd.grad(values.sum(), features)
    assert torch.isfinite(values).all() and torch.isfinite(gradient).all()


def test_normalisation_by_hand():
    """Row sums 4, -1 (counts as 0) and 1; item 1 stands twice in its own row."""
    neighbors = torch.tensor([[1, 1, 3], [2, 1, 0], [3, 1, 0]])
    neighbors = torch.cat([torch.zeros(1, 3, dtype=torch.long), neighbors])
    values = [[0.0, 0.0, 0.0], [1.0, 2.0, 1.0], [1.0, -2.0, 0.0], [0.5, 0.5, 0.0]]
    values = torch.tensor(values, requires_grad=True)
    normalised = normalise_symmetrically(neighbors, values)
    expected = [[0, 0, 0], [1 / 4, 2 / 4, 1 / 2], [0, 0, 0], [0.5, 0.5 / 2, 0]]
    torch.testing.assert_close(normalised, torch.tensor(expected))
    normalised.sum().backward()
    assert torch.isfinite(values.grad).all()


def test_normalisation_and_its_gradient(features):
    neighbors, cosines = similar_items(features, 3)
    both = torch.cat([neighbors, neighbors.flip(0)[:, :2].clamp(min=1)], dim=1)
    values = torch.cat([cosines, 0.3 * cosines[:, :2].abs()], dim=1)
    actual = dense(both, normalise_symmetrically(both, values))
    expected = symmetric_by_rows(dense(both, values))
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-14)
    probe = torch.rand(N_ITEMS, N_ITEMS, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    gradients = [torch.autograd.grad((graph * probe).sum(), features, retain_graph=True)[0]
                 for graph in (actual, expected)]  # fmt: skip
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-13)


def test_blended_graph_its_gradients_and_its_constant_form(features):
    generator = torch.Generator().manual_seed(4)
    raw = [torch.rand(N_ITEMS, N_ITEMS, generator=generator, dtype=torch.float64).round() for _ in range(2)]
    operators = [SparseOperator.from_scipy(adjacency.numpy()) for adjacency in raw]
    weights = torch.tensor([0.2, 0.8], dtype=torch.float64, requires_grad=True)
    x = torch.randn(N_ITEMS, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    neighbors, cosines = similar_items(features, 3)
    graph = BlendedGraph(neighbors, cosines, operators, weights, 0.3)
    matrix = 0.7 * kept_cosines(features, 3) + 0.3 * (weights[0] * raw[0] + weights[1] * raw[1])
    # float64 sums of a dozen terms
    torch.testing.assert_close(graph @ x, matrix @ x, rtol=1e-12, atol=1e-14)
    inputs = (features, weights, x)
    gradients = [torch.autograd.grad((product**2).sum(), inputs) for product in (graph @ x, matrix @ x)]
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-13)
    torch.testing.assert_close(graph.constant().to_dense(), matrix.detach(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("k", [0, N_ITEMS])
def test_bad_k(features, k):
    with pytest.raises(ValueError, match=f"k = {k} neighbours"):
        similar_items(features, k)
