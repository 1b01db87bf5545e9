"""DA-MRS's alignments: gradients by hand, and blocks that do not tell."""

from __future__ import annotations

import pytest
import torch

from recbole_mm.nn import alignment
from recbole_mm.nn.alignment import preference_alignment, relation_alignment


def tables(*sizes):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(size, 4, dtype=torch.float64, generator=generator) for size in sizes]


def units(count, n=12):
    return [rows / rows.norm(dim=1, keepdim=True) for rows in tables(*[n] * count)]


@pytest.fixture(params=[1 << 22, 24])
def small_blocks(request, monkeypatch):
    monkeypatch.setattr(alignment, "_BLOCK_LOGITS", request.param)


def test_preference_gradients(small_blocks):
    inputs = [table.requires_grad_() for table in tables(5, 7, 7)]
    assert torch.autograd.gradcheck(preference_alignment, inputs)


def test_equal_tables_are_aligned():
    users, items = tables(5, 7)
    assert preference_alignment(users, items, items) == 0


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.slow
def test_relation_gradients(small_blocks, count):
    """In any direction: unit length is the caller's."""
    inputs = [table.requires_grad_() for table in units(count)]
    anchors = torch.tensor([0, 3, 7, 11])
    assert torch.autograd.gradcheck(lambda *some: relation_alignment(some, anchors, 3, 0.4), inputs)


def test_blocks_change_nothing(monkeypatch):
    some, anchors = units(3), torch.arange(12)
    whole = relation_alignment(some, anchors, 2, 0.2)
    monkeypatch.setattr(alignment, "_BLOCK_LOGITS", 1)
    torch.testing.assert_close(relation_alignment(some, anchors, 2, 0.2), whole, rtol=1e-14, atol=0)
