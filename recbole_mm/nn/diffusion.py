"""Diffusion of rows of the user-item matrix, and the network that takes the noise out (DiffMM, ACM MM 2024)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from recbole_mm.nn.normalise import l2_normalise

_FIRST_BETA = 1e-4
_LARGEST_BETA = 0.999


class Schedule(NamedTuple):
    r"""How much noise each step adds, and how its removal mixes prediction and input; float64 ``[n_steps]`` each.

    With :math:`s = \mathrm{linspace}(a \min, a \max)`, ``beta_t = min(1 - (1 - s_t) / (1 - s_{t-1}), 0.999)`` but
    ``beta_0 = 1e-4``, and :math:`\bar\alpha_t = \prod_{r \leq t} (1 - \beta_r)`:

    Attributes:
        signal: :math:`\sqrt{\bar\alpha_t}`, what remains of a row.
        noise: :math:`\sqrt{1 - \bar\alpha_t}`, its noise.
        loss_weight: 1 at step 0, then how much the ratio of signal to noise falls, ``SNR_{t-1} - SNR_t``.
        prediction: weight of the prediction in the row of the step before,
            :math:`\beta_t \sqrt{\bar\alpha_{t-1}} / (1 - \bar\alpha_t)`.
        row: weight of the row itself, :math:`(1 - \bar\alpha_{t-1}) \sqrt{1 - \beta_t} / (1 - \bar\alpha_t)`.
    """

    signal: Tensor
    noise: Tensor
    loss_weight: Tensor
    prediction: Tensor
    row: Tensor


def schedule(n_steps: int, scale: float, smallest: float, largest: float) -> Schedule:
    """The schedule of `n_steps` steps between ``scale * smallest`` and ``scale * largest``."""
    kept = 1 - np.linspace(scale * smallest, scale * largest, n_steps)
    betas = np.minimum(1 - kept / np.concatenate(([1.0], kept[:-1])), _LARGEST_BETA)
    betas[0] = _FIRST_BETA
    bars = np.cumprod(1 - betas)
    before = np.concatenate(([1.0], bars[:-1]))
    ratio = bars / (1 - bars)
    weight = np.concatenate(([1.0], ratio[:-1] - ratio[1:]))
    parts = (
        np.sqrt(bars), np.sqrt(1 - bars), weight,
        betas * np.sqrt(before) / (1 - bars), (1 - before) * np.sqrt(1 - betas) / (1 - bars),
    )  # fmt: skip
    return Schedule(*map(torch.from_numpy, parts))


class Denoiser(nn.Module):
    """Rows and their step to rows without noise: two layers with a tanh between.

    Weights start Xavier normal, biases N(0, 0.001).

    Args:
        n_items: width of a row.
        hidden: of the first layer.
        time_width: of a step's code, an even number.
        normalise: take rows at unit length.
    """

    def __init__(self, n_items: int, hidden: int, time_width: int, normalise: bool = False):
        super().__init__()
        self.normalise = normalise
        self.time_layer = nn.Linear(time_width, time_width)
        self.hidden_layer = nn.Linear(n_items + time_width, hidden)
        self.output_layer = nn.Linear(hidden, n_items)
        for layer in (self.time_layer, self.hidden_layer, self.output_layer):
            nn.init.xavier_normal_(layer.weight)
            nn.init.normal_(layer.bias, std=0.001)

    def forward(self, rows: Tensor, steps: Tensor, mask: Tensor | None = None) -> Tensor:
        """Predicted rows ``[n, n_items]``.

        Args:
            rows: ``[n, n_items]``.
            steps: ``[n]`` or ``[1]`` for all, from 0.
            mask: what the rows are multiplied by, of their shape: a dropout.
        """
        if self.normalise:
            rows = l2_normalise(rows)
        if mask is not None:
            rows = rows * mask
        of_rows, of_time = self.hidden_layer.weight.split([rows.shape[1], self.time_layer.in_features], dim=1)
        time = self.time_layer(self.time_code(steps).to(rows.dtype)) @ of_time.T + self.hidden_layer.bias
        return self.output_layer((rows @ of_rows.T + time).tanh())

    def time_code(self, steps: Tensor) -> Tensor:
        """Cosines, then sines, of the step at falling frequencies ``10000^(-2j / time_width)``; float64."""
        half = self.time_layer.in_features // 2
        frequencies = 10000 ** (-torch.arange(half, device=steps.device, dtype=torch.float64) / half)
        angles = steps.unsqueeze(1) * frequencies
        return torch.cat([angles.cos(), angles.sin()], dim=1)


class Draw(NamedTuple):
    """What is drawn for a batch of rows.

    Attributes:
        steps: ``[n]`` of each row.
        noise: ``[n, n_items]``, normal.
        mask: ``[n, n_items]``, 0 or 2 with equal chance.
    """

    steps: Tensor
    noise: Tensor
    mask: Tensor


def draw(shape: tuple[int, ...], n_steps: int, generator: torch.Generator, like: Tensor) -> Draw:
    """Steps, noise and mask of rows `shape`, on the device and of the type of `like`, whose float64 has float32's."""
    steps = torch.randint(n_steps, shape[:1], generator=generator)
    noise = torch.randn(shape, generator=generator)
    mask = torch.randint(2, shape, generator=generator) * 2
    return Draw(steps.to(like.device), noise.to(like), mask.to(like))


def noised(rows: Tensor, drawn: Draw, plan: Schedule) -> Tensor:
    """Rows ``[n, n_items]`` with the noise of their steps."""
    signal, noise = (_of_steps(part, drawn.steps, rows) for part in (plan.signal, plan.noise))
    return signal * rows + noise * drawn.noise


def reconstruction_losses(rows: Tensor, predicted: Tensor, steps: Tensor, plan: Schedule) -> Tensor:
    """Weighted mean squared error of each row, ``[n]``."""
    return _of_steps(plan.loss_weight, steps, rows).squeeze(1) * (rows - predicted).square().mean(dim=1)


def denoise(denoiser: Denoiser, rows: Tensor, plan: Schedule) -> Tensor:
    """Rows ``[n, n_items]`` passed from the last step to step 0, without noise or dropout."""
    for step in reversed(range(len(plan.signal))):
        predicted = denoiser(rows, torch.tensor([step], device=rows.device))
        rows = plan.prediction[step].item() * predicted + plan.row[step].item() * rows
    return rows


def _of_steps(part: Any, steps: Tensor, like: Tensor) -> Tensor:
    return part.to(like)[steps].unsqueeze(1)
