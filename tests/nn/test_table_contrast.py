"""Contrast against a whole table: blocks, [PAD] and the hand-written gradient."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from recbole_mm.nn import log_sum_exp
from recbole_mm.nn.loss import table_contrast


def example(width: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    anchors, table = (torch.randn(rows, width, generator=generator, dtype=torch.float64) for rows in (7, 12))
    return anchors.requires_grad_(), table.requires_grad_(), torch.tensor([1, 11, 4, 4, 2, 9, 1])


def test_value_by_hand():
    """Logits of the only anchor to rows 1, 2, 3: 1, 0, 2; row 0 ([PAD]) would be 7."""
    table = torch.tensor([[7.0], [1.0], [0.0], [2.0]])
    loss = table_contrast(torch.tensor([[1.0]]), table, torch.tensor([3]))
    assert loss.item() == pytest.approx(math.log(math.e + 1 + math.e**2) - 2, rel=1e-6)


@pytest.mark.parametrize("width", [2, 20])
@pytest.mark.parametrize("rows", [1, 2, 512])
def test_equals_cross_entropy_for_any_block(monkeypatch, width, rows):
    monkeypatch.setattr(log_sum_exp, "_TILE", (rows, 4))
    monkeypatch.setattr(log_sum_exp, "_WHOLE_ROWS", (rows * 11, None))
    anchors, table, positives = example(width)
    loss = table_contrast(anchors, table, positives)
    expected = F.cross_entropy(anchors @ table[1:].T, positives - 1, reduction="sum")
    # float64 sums of a dozen terms
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    gradients = [torch.autograd.grad(3 * value, (anchors, table)) for value in (loss, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-13)


def test_gradient_is_that_of_the_value():
    anchors, table, positives = example(4)
    assert torch.autograd.gradcheck(lambda a, t: table_contrast(a, t, positives), (anchors, table))


def test_pad_gets_no_gradient():
    anchors, table, positives = example(4)
    table_contrast(anchors, table, positives).backward()
    assert not table.grad[0].any() and table.grad[1:].all()


def test_large_logits_do_not_overflow():
    anchors = torch.tensor([[500.0]], requires_grad=True)
    loss = table_contrast(anchors, torch.tensor([[0.0], [1.0], [-1.0]]), torch.tensor([2]))
    loss.backward()
    assert loss.item() == pytest.approx(1000.0)
    assert anchors.grad.item() == pytest.approx(2.0)


def test_without_gradient_the_value_is_the_same():
    anchors, table, positives = example(4)
    with torch.no_grad():
        alone = table_contrast(anchors, table, positives)
    assert torch.equal(alone, table_contrast(anchors, table, positives).detach())
