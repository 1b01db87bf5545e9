from __future__ import annotations

import pytest
import torch

from recbole_mm.nn.moments import Moments, moment_gap, moments
from recbole_mm.nn.perturbation import perturb, uniform_noise


@pytest.fixture
def table() -> torch.Tensor:
    return torch.randn(7, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def test_are_torchs_over_all_entries(table):
    found = moments(table[:3], table[3:])
    torch.testing.assert_close(found.variance, table.var())
    torch.testing.assert_close(found.mean, table.mean())


@pytest.mark.parametrize("copies", [1, 2, 3])
def test_of_copies_side_by_side(table, copies):
    """The population variance of x times E / (E - 1), with E entries of all copies."""
    found = moments(table, copies=copies)
    torch.testing.assert_close(found.variance, torch.cat([table] * copies, dim=1).var())
    n_entries = copies * table.numel()
    torch.testing.assert_close(found.variance, table.var(correction=0) * n_entries / (n_entries - 1))


def test_gap_and_its_gradient(table):
    assert moment_gap(moments(table), moments(table)) == 0
    assert moment_gap(*(Moments(*map(torch.tensor, pair)) for pair in ((1.0, 5.0), (3.0, 4.0)))) == 3
    other = table.flip(0)[:4] * 1.7 + 0.3

    def gap(x, y):
        return moment_gap(moments(x[:2], x[2:]), moments(y))

    assert torch.autograd.gradcheck(gap, (table.requires_grad_(), other.requires_grad_()))


def test_half_precision_is_summed_in_full():
    ones = torch.ones(3000, dtype=torch.bfloat16)
    assert moments(ones).mean == 1 and moments(ones).mean.dtype == torch.float32


def test_a_row_moves_by_a_tenth_within_its_orthant(table):
    moved = perturb(table, uniform_noise(table))
    torch.testing.assert_close((moved - table).norm(dim=1), torch.full((7,), 0.1, dtype=torch.float64))
    assert torch.equal(moved.sign(), table.sign())
    table[0] = 0
    assert not perturb(table, uniform_noise(table))[0].any()


def test_no_gradient_goes_through_the_sign(table):
    noise = uniform_noise(table)
    (gradient,) = torch.autograd.grad(perturb(table.requires_grad_(), noise).sum(), table)
    assert torch.equal(gradient, torch.ones_like(table))


def test_noise_is_uniform_and_the_same_for_either_precision():
    drawn = []
    for dtype in (torch.float32, torch.float64):
        torch.manual_seed(3)
        drawn.append(uniform_noise(torch.empty(100, 50, dtype=dtype)))
    assert torch.equal(drawn[0].double(), drawn[1])
    assert drawn[0].min() >= 0 and drawn[0].max() < 1
    assert drawn[0].mean().item() == pytest.approx(0.5, abs=0.02)  # five standard deviations of 5,000 draws
