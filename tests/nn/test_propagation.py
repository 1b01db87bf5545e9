"""Propagation against dense references of the same formulae, forward and backward."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck

from recbole_mm.graph import BipartiteGraph, SparseOperator
from recbole_mm.nn.propagation import layer_gcn, light_gcn

USERS, ITEMS = 5, 6
PAIRS = [(1, 1), (1, 2), (2, 2), (2, 3), (3, 1), (3, 4), (1, 4)]
"""User 4 and item 5 have no edge, nor have the [PAD] rows, nodes 0 and USERS."""
ISOLATED = [0, 4, USERS, USERS + 5]


@pytest.fixture
def graph() -> SparseOperator:
    users, items = (torch.tensor(ids) for ids in zip(*PAIRS, strict=True))
    return BipartiteGraph(users, items, USERS, ITEMS).symmetric()


def random_nodes(width: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(USERS + ITEMS, width, dtype=torch.float64, generator=generator).requires_grad_()


def dense_light_gcn(matrix, nodes, n_layers, readout):
    layers = [nodes]
    for _ in range(n_layers):
        layers.append(matrix @ layers[-1])
    stacked = torch.stack(layers)
    return {"mean": stacked.mean(0), "sum": stacked.sum(0), "last": layers[-1]}[readout]


def dense_layer_gcn(matrix, nodes, n_layers, n_modalities, include_layer_0):
    parts = []
    for ego in nodes.chunk(n_modalities, dim=1):
        layer, total = ego, ego if include_layer_0 else torch.zeros_like(ego)
        for _ in range(n_layers):
            product = matrix @ layer
            norms = (rows.norm(dim=1, keepdim=True).clamp_min(1e-8) for rows in (product, ego))
            cosine = (product * ego).sum(1, keepdim=True)
            for norm in norms:
                cosine = cosine / norm
            layer = cosine * product
            total = total + layer
        parts.append(total)
    return torch.cat(parts, dim=1)


def assert_same_with_gradients(function, reference, nodes):
    """Values and gradients for a random weighting of the outputs; both sums in float64, in another order."""
    shape = reference(nodes).shape
    weights = torch.randn(shape, dtype=nodes.dtype, generator=torch.Generator().manual_seed(1))
    results = []
    for propagate in (function, reference):
        output = propagate(nodes)
        (gradient,) = torch.autograd.grad((output * weights).sum(), nodes)
        results.append((output.detach(), gradient))
    for actual, expected in zip(*results, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("readout", ["mean", "sum", "last"])
@pytest.mark.parametrize("n_layers", [0, 1, 3])
def test_light_gcn_equals_dense_reference(graph, readout, n_layers):
    dense = graph.to_dense()
    assert_same_with_gradients(
        lambda x: light_gcn(graph, x, n_layers, readout),
        lambda x: dense_light_gcn(dense, x, n_layers, readout),
        random_nodes(4),
    )


@pytest.mark.parametrize("include_layer_0", [True, False])
@pytest.mark.parametrize("n_modalities", [1, 3])
@pytest.mark.parametrize("n_layers", [1, 4])
def test_layer_gcn_equals_dense_reference(graph, n_layers, n_modalities, include_layer_0):
    dense = graph.to_dense()
    assert_same_with_gradients(
        lambda x: layer_gcn(graph, x, n_layers, n_modalities, include_layer_0),
        lambda x: dense_layer_gcn(dense, x, n_layers, n_modalities, include_layer_0),
        random_nodes(4 * n_modalities),
    )


@pytest.mark.parametrize("include_layer_0", [True, False])
@pytest.mark.parametrize("n_layers", [1, 2, 4])
def test_layer_gcn_of_some_rows_equals_those_of_all(graph, n_layers, include_layer_0):
    """Rows repeat as those of a batch do, in any order, isolated nodes among them."""
    dense, rows = graph.to_dense(), torch.tensor([7, 2, 2, 4, USERS + 1, 7, 0])
    assert_same_with_gradients(
        lambda x: layer_gcn(graph, x, n_layers, 2, include_layer_0, rows),
        lambda x: dense_layer_gcn(dense, x, n_layers, 2, include_layer_0)[rows],
        random_nodes(8),
    )


@pytest.mark.parametrize("scale", [0.0, 1e-10], ids=["zero rows", "rows below the cosine's epsilon"])
def test_layer_gcn_with_vanishing_rows(graph, scale):
    """One modality of a user and all of its neighbours' rows vanish: no division by zero, the reference's gradient."""
    nodes = random_nodes(6)
    with torch.no_grad():
        nodes[1, :3] *= scale
        nodes[[USERS + 1, USERS + 2, USERS + 4], 3:] *= scale
    dense = graph.to_dense()
    assert_same_with_gradients(
        lambda x: layer_gcn(graph, x, 2, n_modalities=2),
        lambda x: dense_layer_gcn(dense, x, 2, 2, True),
        nodes,
    )


def test_layer_gcn_with_an_operator_that_is_not_symmetric():
    torch.manual_seed(0)
    dense = torch.rand(7, 7, dtype=torch.float64)
    dense[dense < 0.5] = 0
    rows, cols = dense.nonzero(as_tuple=True)
    operator = SparseOperator.from_coo(rows, cols, dense[rows, cols], (7, 7))
    assert_same_with_gradients(
        lambda x: layer_gcn(operator, x, 3),
        lambda x: dense_layer_gcn(dense, x, 3, 1, True),
        random_nodes(4)[:7],
    )


def test_isolated_nodes_keep_layer_0_alone(graph):
    nodes = random_nodes(4).detach()
    assert torch.equal(layer_gcn(graph, nodes, 3)[ISOLATED], nodes[ISOLATED])
    assert not layer_gcn(graph, nodes, 3, include_layer_0=False)[ISOLATED].any()
    assert torch.equal(light_gcn(graph, nodes, 3, "sum")[ISOLATED], nodes[ISOLATED])
    assert not light_gcn(graph, nodes, 1, "last")[ISOLATED].any()


def test_modalities_side_by_side_do_not_mix(graph):
    nodes = random_nodes(9).detach()
    together = layer_gcn(graph, nodes, 2, n_modalities=3)
    for start in (0, 3, 6):
        alone = layer_gcn(graph, nodes[:, start : start + 3].contiguous(), 2)
        # the same sums; only the kernel's blocking over another width may round them differently
        torch.testing.assert_close(together[:, start : start + 3], alone, rtol=1e-13, atol=1e-15)


def test_gradients(graph):
    nodes = random_nodes(6)
    assert gradcheck(lambda x: layer_gcn(graph, x, 3, n_modalities=2), nodes)
    assert gradcheck(lambda x: layer_gcn(graph, x, 2, n_modalities=1, include_layer_0=False), nodes)
    for readout in ("mean", "sum", "last"):
        assert gradcheck(lambda x, readout=readout: light_gcn(graph, x, 2, readout), nodes)


def test_the_input_is_left_as_it_was(graph):
    nodes = random_nodes(6)
    before = nodes.detach().clone()
    layer_gcn(graph, nodes, 3, n_modalities=2).square().sum().backward()
    light_gcn(graph, nodes, 3).square().sum().backward()
    assert torch.equal(nodes, before)


def test_unknown_readout(graph):
    with pytest.raises(ValueError, match="readout 'max' is unknown; choose mean, sum or last"):
        light_gcn(graph, random_nodes(2), 2, "max")
