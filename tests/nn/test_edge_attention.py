from __future__ import annotations

import warnings

import pytest
import torch

from recbole_mm.graph import SparseOperator
from recbole_mm.nn.edge_attention import EdgeSet, at_sources, attend, edge_dot, edge_softmax, edge_sum, turn

# 4 targets, 5 sources; target 2 and source 3 have no edge.
TARGETS, SOURCES = torch.tensor([0, 0, 0, 1, 3, 3]), torch.tensor([1, 2, 4, 0, 2, 4])


@pytest.fixture
def edges() -> EdgeSet:
    # given in another order than that of their targets, and with values that must not matter
    order = [5, 0, 3, 2, 4, 1]
    return EdgeSet(SparseOperator.from_coo(TARGETS[order], SOURCES[order], torch.tensor(order) - 2.0, (4, 5)))


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()


def test_edges_are_in_the_order_of_their_targets(edges):
    assert torch.equal(edges.targets.long(), TARGETS) and torch.equal(edges.sources.long(), SOURCES)


def test_dots(edges):
    targets, sources = random(4, 3), random(5, 3, seed=1)
    torch.testing.assert_close(edge_dot(edges, targets, sources), (targets @ sources.T)[TARGETS, SOURCES])
    assert torch.autograd.gradcheck(lambda t, s: edge_dot(edges, t, s), (targets, sources))


def test_weighted_sums(edges):
    weights, sources = random(6), random(5, 3, seed=1)
    dense = torch.zeros(4, 5, dtype=torch.float64)
    dense[TARGETS, SOURCES] = weights.detach()
    torch.testing.assert_close(edge_sum(edges, weights, sources), dense @ sources)
    assert torch.autograd.gradcheck(lambda w, s: edge_sum(edges, w, s), (weights, sources))


def test_softmax(edges):
    scores = random(6)
    expected = torch.cat([part.softmax(0) for part in scores.split([3, 1, 2])])
    torch.testing.assert_close(edge_softmax(edges, scores), expected)
    assert torch.autograd.gradcheck(lambda s: edge_softmax(edges, s), scores)


def test_attention_equals_masked_dense_attention(edges):
    targets, sources = random(4, 3), random(5, 3, seed=1)
    gathered, attention = attend(edges, edge_dot(edges, targets, sources), sources)
    mask = torch.full((4, 5), -torch.inf, dtype=torch.float64)
    mask[TARGETS, SOURCES] = 0
    dense = (targets @ sources.T + mask).softmax(dim=1).nan_to_num()
    torch.testing.assert_close(attention, dense[TARGETS, SOURCES])
    torch.testing.assert_close(gathered, dense @ sources)
    assert not gathered[2].any()
    scores = random(6, seed=2)
    assert torch.autograd.gradcheck(lambda c, s: attend(edges, c, s), (scores, sources))


def test_edges_turned_round(edges):
    pattern = SparseOperator.from_coo(SOURCES, TARGETS, torch.ones(6), (5, 4))
    turned, values = EdgeSet(pattern), random(6)
    dense = torch.zeros(4, 5, dtype=torch.float64)
    dense[TARGETS, SOURCES] = values.detach()
    there = turn(edges, turned, values)
    assert torch.equal(there, dense.T[turned.targets.long(), turned.sources.long()])
    assert torch.equal(turn(turned, edges, there), values)
    assert torch.autograd.gradcheck(lambda v: turn(edges, turned, v), values)


def test_rows_at_sources(edges):
    table = random(5, 2)
    assert torch.equal(at_sources(edges, table), table[SOURCES])
    assert torch.autograd.gradcheck(lambda t: at_sources(edges, t), table)


def test_unused_gradients_are_not_asked_for(edges):
    targets, sources = random(4, 3).detach(), random(5, 3, seed=1)
    attend(edges, edge_dot(edges, targets, sources), sources)[0].sum().backward()
    assert sources.grad.any() and targets.grad is None


def test_follows_its_module_and_stays_out_of_the_state_dict(edges):
    assert not edges.state_dict()
    single = edges.double().float()
    assert single.dots(torch.ones(4, 2), torch.ones(5, 2)).tolist() == [2.0] * 6


def test_torchs_notice_about_its_sparse_tensors_is_not_passed_on():
    """Torch gives it once in a process, at the first edge set; here it is told to give it every time."""
    pattern = SparseOperator.from_coo([0], [1], [1.0], (1, 2))
    torch.set_warn_always(True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            edges = EdgeSet(pattern)
        with pytest.warns(UserWarning, match="Sparse CSR tensor support is in beta"):
            edges.dots(torch.ones(1, 2), torch.ones(2, 2))
    finally:
        torch.set_warn_always(False)
