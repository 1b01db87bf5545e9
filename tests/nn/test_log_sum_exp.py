"""The blocked normalisers with a term left out, and MICRO's contrast made of them."""

from __future__ import annotations

import math

import pytest
import torch

from recbole_mm.nn import log_sum_exp
from recbole_mm.nn.log_sum_exp import sum_of_log_sum_exp
from recbole_mm.nn.loss import two_table_contrast

TILES = [(1, 1), (3, 5), (2, 16), log_sum_exp._TILE]


@pytest.fixture
def tables():
    generator = torch.Generator().manual_seed(1)
    tables = [torch.randn(rows, 20, generator=generator, dtype=torch.float64) for rows in (7, 16)]
    return [table.requires_grad_() for table in tables]


@pytest.mark.parametrize("left_out", [None, 0, 5, 9])
@pytest.mark.parametrize("tile", TILES)
def test_equals_dense(monkeypatch, tables, left_out, tile):
    monkeypatch.setattr(log_sum_exp, "_TILE", tile)
    x, y = tables
    logits = x @ y.T
    if left_out is not None:
        logits = logits.masked_fill(torch.arange(16) == torch.arange(7)[:, None] + left_out, -torch.inf)
    value, expected = sum_of_log_sum_exp(x, y, left_out), logits.logsumexp(1).sum()
    # float64 sums of a few dozen terms
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=0)
    gradients = [torch.autograd.grad(3 * result, (x, y)) for result in (value, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("sides", ["x", "y", "xy"])
@pytest.mark.parametrize("tile", TILES)
def test_equal_rows_computed_once(monkeypatch, tables, sides, tile):
    monkeypatch.setattr(log_sum_exp, "_TILE", tile)
    ids = {"x": torch.tensor([4, 0, 4, 4, 2]), "y": torch.tensor([9, 3, 3, 9, 9, 1])}
    x, y = (table[ids[side]] for side, table in zip("xy", tables, strict=True))
    value = sum_of_log_sum_exp(x, y, **{f"{side}_ids": ids[side] for side in sides})
    expected = (x @ y.T).logsumexp(1).sum()
    # float64 sums of a few dozen terms
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=0)
    gradients = [torch.autograd.grad(3 * result, tables, retain_graph=True) for result in (value, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-13)


def test_two_table_contrast_by_hand():
    """Anchors at 0 and 90 degrees; the first candidate points as the first anchor, the second against."""
    anchors = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    candidates = torch.tensor([[3.0, 0.0], [-1.0, 0.0]])
    first = -math.log(math.exp(2) / (math.exp(2) + math.exp(-2) + math.exp(0)))
    second = -math.log(1 / (1 + 1 + 1))
    loss = two_table_contrast(anchors, candidates, 0.5)
    assert loss.item() == pytest.approx((first + second) / 2, rel=1e-6)


def test_two_table_contrast_gradient(tables):
    inputs = (tables[0], tables[1][:7])
    assert torch.autograd.gradcheck(lambda a, c: two_table_contrast(a, c, 0.5), inputs)
