"""Gradients in memory of the step before: equal to torch's own, whatever that memory holds."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import gradcheck

from recbole_mm.nn import gradient_memory
from recbole_mm.nn.gradient_memory import keep_gradient_memory
from recbole_mm.nn.row_projection import project_rows, project_table


@pytest.fixture(autouse=True)
def all_sizes_kept(monkeypatch):
    monkeypatch.setattr(gradient_memory, "_LARGEST_KEPT_BY_C", 0)


@pytest.fixture
def tables() -> tuple[nn.Parameter, nn.Parameter, nn.Parameter]:
    """A feature table ``[7, 4]``, a weight ``[3, 4]`` and a bias ``[3]``."""
    generator = torch.Generator().manual_seed(0)
    feature, weight, bias = (nn.Parameter(torch.randn(*shape, generator=generator)) for shape in ((7, 4), (3, 4), (3,)))
    return feature, weight, bias


def steps(feature: nn.Parameter, losses: list[Tensor]) -> list[tuple[Tensor, int]]:
    """The gradient of each loss, taken one after the other as a trainer does, and where it lies."""
    found = []
    for loss in losses:
        keep_gradient_memory([feature])
        assert feature.grad is None
        loss.backward()
        found.append((feature.grad.clone(), feature.grad.data_ptr()))
    return found


def test_a_whole_tables_gradient_is_torchs_own_to_the_bit(tables):
    feature, weight, bias = tables
    copies = [table.detach().clone().requires_grad_() for table in tables]
    projected, wanted = project_table(*tables), F.linear(*copies)
    assert torch.equal(projected, wanted)
    projected.square().sum().backward()
    wanted.square().sum().backward()
    assert all(torch.equal(table.grad, copy.grad) for table, copy in zip(tables, copies, strict=True))
    assert gradcheck(project_table, [table.detach().double().requires_grad_() for table in tables])


def test_the_next_step_writes_where_the_last_one_did(tables):
    feature, weight, bias = tables
    (first, place), (second, again), (third, still) = steps(
        feature, [factor * project_table(feature, weight, bias).sum() for factor in (1, 2, -4)]
    )
    assert place == again == still
    torch.testing.assert_close(first, weight.detach().sum(0).expand(7, 4))
    assert torch.equal(second, 2 * first) and torch.equal(third, -4 * first)  # powers of two are exact


def test_rows_outside_a_batch_are_zero_in_used_memory(tables):
    feature, weight, _ = tables
    batches = [torch.tensor(rows) for rows in ([6, 1, 4], [0, 2], [1, 2, 3, 4, 5])]
    found = steps(feature, [project_rows(feature, rows, weight).sum() for rows in batches])
    assert len({place for _, place in found}) == 1
    for rows, (gradient, _) in zip(batches, found, strict=True):
        wanted = torch.zeros(7, 4).index_copy_(0, rows, weight.detach().sum(0).expand(len(rows), 4))
        torch.testing.assert_close(gradient, wanted)


def test_what_the_memory_holds_does_not_matter(tables):
    feature, weight, bias = tables
    project_rows(feature, torch.tensor([2]), weight).sum().backward()
    feature.grad.fill_(float("nan"))
    for loss in (project_rows(feature, torch.tensor([3]), weight).sum(), project_table(feature, weight).sum()):
        ((gradient, _),) = steps(feature, [loss])
        assert gradient.isfinite().all()
        feature.grad.fill_(float("inf"))


def test_gradients_of_several_uses_add_up(tables):
    """Also where a second use of the step finds the memory taken, and where steps are accumulated."""
    feature, weight, bias = tables

    def loss() -> Tensor:
        whole = project_table(feature, weight, bias).sum()
        return whole + project_table(feature, 2 * weight).sum() + project_rows(feature, torch.tensor([1]), weight).sum()

    wanted = 3 * weight.detach().sum(0).expand(7, 4).clone()
    wanted[1] += weight.detach().sum(0)
    for gradient, _ in steps(feature, [loss(), loss(), loss()]):
        torch.testing.assert_close(gradient, wanted)
    loss().backward()
    torch.testing.assert_close(feature.grad, 2 * wanted)


def test_a_gradient_that_a_caller_asks_for_stays_as_it_is(tables):
    feature, weight, _ = tables
    project_table(feature, weight).sum().backward()
    keep_gradient_memory([feature])
    (asked,) = torch.autograd.grad(project_table(feature, weight).sum(), feature)
    kept = asked.clone()
    project_table(feature, 4 * weight).sum().backward()
    assert torch.equal(asked, kept) and torch.equal(feature.grad, 4 * kept)


def test_nothing_is_kept_of_other_parameters_nor_after_zero_grad(tables):
    feature, weight, bias = tables
    optimizer = torch.optim.SGD(tables)
    project_table(feature, weight, bias).sum().backward()
    keep_gradient_memory(tables)
    assert all(table.grad is None for table in tables)
    assert [table for table in tables if gradient_memory._kept.get(table) is not None] == [feature]
    project_table(feature, weight, bias).sum().backward()
    optimizer.zero_grad()
    assert gradient_memory._kept[feature] is None


def test_half_precision_goes_torchs_own_way(tables):
    feature, weight, bias = tables
    with torch.autocast("cpu", torch.bfloat16):
        project_table(feature, weight, bias).float().sum().backward()
    assert feature not in gradient_memory._kept and feature.grad.dtype == torch.float32
