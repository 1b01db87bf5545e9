"""The schedule's published numbers and identities, and the denoiser against its formulae."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recbole_mm.nn.diffusion import Denoiser, Draw, denoise, draw, noised, reconstruction_losses, schedule

PLAN = schedule(5, 0.1, 1e-4, 0.02)


def test_published_numbers():
    """Of T = 5 and the public code's bounds, as printed."""
    bars = PLAN.signal.square()
    torch.testing.assert_close(bars, torch.tensor([0.9999, 0.999403, 0.998905, 0.998408, 0.997910]).double(),
                               rtol=0, atol=6e-7)  # fmt: skip
    torch.testing.assert_close(PLAN.loss_weight, torch.tensor([1.0, 8326, 760, 285, 149]).double(), rtol=0, atol=1)
    torch.testing.assert_close(PLAN.prediction, torch.tensor([1, 0.8327, 0.4545, 0.3126, 0.2382]).double(),
                               rtol=0, atol=6e-5)  # fmt: skip
    torch.testing.assert_close(PLAN.row, torch.tensor([0, 0.1673, 0.5455, 0.6874, 0.7618]).double(), rtol=0, atol=6e-5)


@pytest.mark.parametrize("n_steps", [1, 2, 5, 40])
def test_identities(n_steps):
    plan = schedule(n_steps, 0.1, 1e-4, 0.02)
    torch.testing.assert_close(plan.prediction + plan.row, torch.ones(n_steps).double(), rtol=0, atol=1e-6)
    assert plan.row[0] == 0 and plan.prediction[0] == pytest.approx(1, abs=1e-12) and plan.loss_weight[0] == 1
    torch.testing.assert_close(plan.signal.square() + plan.noise.square(), torch.ones(n_steps).double())


def a_denoiser(n_items=7, **settings):
    torch.manual_seed(0)
    return Denoiser(n_items, 6, 10, **settings).double()


def test_parameter_count():
    assert sum(p.numel() for p in Denoiser(100, 1000, 10).parameters()) == 2_001 * 100 + 11_110


def test_initial_values():
    denoiser = Denoiser(3000, 1000, 10)
    assert denoiser.hidden_layer.weight.std().item() == pytest.approx((2 / 4010) ** 0.5, rel=0.01)
    assert denoiser.output_layer.bias.std().item() == pytest.approx(0.001, rel=0.05)


@pytest.mark.parametrize("normalise", [False, True])
def test_denoiser_by_its_formulae(normalise):
    denoiser, rows = a_denoiser(normalise=normalise), torch.randn(4, 7).double()
    steps, mask = torch.tensor([0, 1, 3, 4]), torch.randint(2, (4, 7)).double() * 2
    expected = []
    for row, step, kept in zip(rows, steps.tolist(), mask, strict=True):
        row = row / row.norm() if normalise else row
        angles = np.array([step * 10000 ** (-j / 5) for j in range(5)])
        code = torch.from_numpy(np.concatenate([np.cos(angles), np.sin(angles)]))
        h = torch.cat([row * kept, denoiser.time_layer(code)])
        expected.append(denoiser.output_layer(torch.tanh(denoiser.hidden_layer(h))))
    torch.testing.assert_close(denoiser(rows, steps, mask), torch.stack(expected), rtol=1e-12, atol=1e-14)


def test_removal_ends_with_the_prediction_of_step_0():
    denoiser, rows = a_denoiser(), torch.randn(4, 7).double()
    before = rows
    for step in (4, 3, 2, 1):
        predicted = denoiser(before, torch.full((4,), step))
        before = PLAN.prediction[step] * predicted + PLAN.row[step] * before
    expected = denoiser(before, torch.zeros(4, dtype=torch.long))
    torch.testing.assert_close(denoise(denoiser, rows, PLAN), expected, rtol=1e-10, atol=1e-12)


def test_noise_and_loss():
    rows = torch.eye(2, 3).double()
    drawn = Draw(torch.tensor([0, 4]), torch.ones(2, 3).double(), torch.ones(2, 3).double())
    bars = PLAN.signal.square()[[0, 4]].unsqueeze(1)
    torch.testing.assert_close(noised(rows, drawn, PLAN), bars.sqrt() * rows + (1 - bars).sqrt())
    losses = reconstruction_losses(rows, torch.zeros_like(rows), drawn.steps, PLAN)
    expected = torch.stack([torch.tensor(1 / 3).double(), PLAN.loss_weight[4] / 3])
    torch.testing.assert_close(losses, expected, rtol=1e-6, atol=0)


def test_draws():
    drawn = draw((2000, 5), 3, torch.Generator().manual_seed(0), torch.zeros(1).double())
    assert drawn.steps.bincount().min() > 600 and len(drawn.steps.bincount()) == 3
    assert set(drawn.mask.unique().tolist()) == {0, 2} and drawn.mask.mean().item() == pytest.approx(1, abs=0.03)
    assert drawn.noise.dtype == torch.float64 and drawn.noise.std().item() == pytest.approx(1, abs=0.02)
