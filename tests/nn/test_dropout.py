"""Dropout of 32 random bits per element."""

from __future__ import annotations

import pytest
import torch

from recbole_mm.nn.dropout import dropout


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5, 0.9])
def test_zeros_at_the_rate_and_scales_the_rest(rate):
    torch.manual_seed(0)
    x = torch.rand(1000, 401) + 1
    share = (dropout(x, rate) == 0).double()
    # 4 standard errors of a mean of independent draws
    assert abs(share.mean().item() - rate) < 4 * (rate * (1 - rate) / x.numel()) ** 0.5
    # and of the rows and columns, which would betray elements that share their bits
    for dim, n in ((0, 1000), (1, 401)):
        spread = share.mean(dim).std().item()
        assert spread == pytest.approx((rate * (1 - rate) / n) ** 0.5, rel=0.2)
    torch.manual_seed(1)
    result = dropout(x, rate)
    torch.testing.assert_close(result[result != 0], (x / (1 - rate))[result != 0])


def test_neighbours_are_independent():
    torch.manual_seed(0)
    kept = (dropout(torch.ones(1 << 18), 0.5) != 0).double() - 0.5
    for lag in (1, 2, 3, 4):
        correlation = (kept[lag:] * kept[:-lag]).mean().item() / 0.25
        assert abs(correlation) < 4 / (1 << 9)  # 4 standard errors


@pytest.mark.parametrize("shape", [(0,), (1,), (3,), (5, 7), (2, 3, 4)])
def test_keeps_shape_and_type(shape):
    for dtype in (torch.float32, torch.float64):
        result = dropout(torch.ones(shape, dtype=dtype), 0.5)
        assert result.shape == shape
        assert result.dtype == dtype


def test_the_gradient_is_the_mask():
    torch.manual_seed(0)
    x = torch.rand(50, 3, dtype=torch.float64).add(1).requires_grad_()
    result = dropout(x, 0.25)
    result.sum().backward()
    assert set(x.grad.unique().tolist()) == {0.0, 1 / 0.75}
    torch.testing.assert_close(x.grad * x.detach(), result.detach())


def test_the_generator_decides():
    x = torch.ones(100)
    torch.manual_seed(3)
    first, second = dropout(x, 0.5), dropout(x, 0.5)
    torch.manual_seed(3)
    assert torch.equal(dropout(x, 0.5), first)
    assert not torch.equal(first, second)


def test_nothing_happens_in_evaluation_or_at_rate_zero():
    x = torch.rand(10)
    state = torch.get_rng_state()
    assert dropout(x, 0.5, training=False) is x
    assert dropout(x, 0.0) is x
    assert torch.equal(torch.get_rng_state(), state)


def test_a_rate_close_to_one_stays_finite():
    assert dropout(torch.ones(1000), 1 - 1e-9).isfinite().all()
