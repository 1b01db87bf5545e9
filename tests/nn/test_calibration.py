"""Reliability, confidence and calibration (MARGO Eqs. 5 to 8) against hand calculations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from recbole_mm.nn.calibration import calibration_loss, confidence, log_reliability

JOINTS = ("sum", "mean")


def test_reliability_by_hand():
    margins = torch.tensor([[1.0, 2.0], [0.5, -0.1], [-1.0, -3.0], [0.0, 0.0]], dtype=torch.float64)
    e = math.e
    expected = [[1 / (1 + e), e / (1 + e)], [1.0, 0.0], [0.5, 0.5], [0.5, 0.5]]
    np.testing.assert_allclose(log_reliability(margins).exp().numpy(), expected, atol=1e-12)


def test_confidence_by_hand():
    rating_margin = torch.tensor([5.0, -1.0, 0.0, 2.0], dtype=torch.float64)
    margins = torch.tensor([[3.0, 2.0], [-2.0, 1.0], [1.0, -1.0], [-0.1, -0.2]], dtype=torch.float64)
    gamma = confidence(rating_margin, margins, temperature=5)
    np.testing.assert_allclose(gamma.numpy(), [math.tanh(1), 0, 0, 0], atol=1e-12)


def test_calibration_loss_by_hand():
    z = torch.tensor([[1.0, 0.0], [0.25, 0.75]], dtype=torch.float64)
    w_i = torch.tensor([[0.6, 0.4], [0.5, 0.5]], dtype=torch.float64)
    w_k = torch.tensor([[0.2, 0.8], [0.1, 0.9]], dtype=torch.float64)
    gamma = torch.tensor([0.5, 2.0], dtype=torch.float64)
    first = math.log(1 / 0.4)
    second = 0.25 * math.log(0.25 / 0.3) + 0.75 * math.log(0.75 / 0.7)
    log_z = torch.where(z > 0, z.log(), torch.full_like(z, -1e6))
    loss = calibration_loss(log_z, gamma, w_i, w_k, joint="mean")
    assert loss.item() == pytest.approx((0.5 * first + 2 * second) / 2, abs=1e-12)


def test_divergence_from_the_sum_differs_by_ln_2():
    """KL(z || w_i + w_k) = KL(z || mean) - ln 2, as the paper's joint weight sums to 2."""
    torch.manual_seed(0)
    z, w_i, w_k = (torch.rand(6, 3, dtype=torch.float64).softmax(-1) for _ in range(3))
    paper = (z * (z / (w_i + w_k)).log()).sum(-1).mean()
    printed, mean = (calibration_loss(z.log(), torch.ones(6, dtype=torch.float64), w_i, w_k, joint) for joint in JOINTS)
    assert printed.item() == pytest.approx(paper.item(), abs=1e-12)
    assert printed.item() == pytest.approx(mean.item() - math.log(2), abs=1e-12)


def test_gradients():
    torch.manual_seed(0)
    margins = torch.randn(5, 3, dtype=torch.float64)
    margins[0] = -margins[0].abs() - 0.1
    rating = torch.rand(5, dtype=torch.float64) + 0.1
    logits = torch.randn(2, 5, 3, dtype=torch.float64)

    def loss(margins, rating, logits):
        weights = logits.softmax(-1)
        return calibration_loss(log_reliability(margins), confidence(rating, margins, 2.0), weights[0], weights[1])

    inputs = [x.requires_grad_() for x in (margins, rating, logits)]
    assert torch.autograd.gradcheck(loss, inputs)
