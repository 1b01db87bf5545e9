"""A critic that tells rows of similarities apart, and what it is trained on (MMSSL, WWW 2023)."""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recbole_mm.nn.dropout import dropout
from recbole_mm.nn.masked_similarities import MaskedSimilarities, times
from recbole_mm.nn.normalise import l2_normalise

_SCALE = 100.0
_EPSILON = 1e-8


class Critic(nn.Module):
    """Rows ``[n, n_items]`` to scores in (0, 100): three layers, of n_items // 4 and n_items // 8 in between.

    A batch's own mean and variance normalise it, always. Weights start Kaiming normal, biases zero.

    Args:
        n_items: width of a row, at least 8.
        slope: of the LeakyReLU behind the first two layers; 1 is the identity.
        rates: of the dropout behind the first two layers.
    """

    def __init__(self, n_items: int, slope: float, rates: tuple[float, float]):
        super().__init__()
        self.slope, self.rates = slope, rates
        self.widths = widths = (n_items, n_items // 4, n_items // 8, 1)
        layers = [nn.Linear(*pair) for pair in zip(widths, widths[1:], strict=False)]
        self.layers = nn.ModuleList(layers)
        self.norms = nn.ModuleList(nn.BatchNorm1d(width, track_running_stats=False) for width in widths[1:3])
        for layer in layers:
            nn.init.kaiming_normal_(layer.weight)
            nn.init.zeros_(layer.bias)

    def draw_masks(self, n_rows: int) -> list[Tensor]:
        """Dropout of the two hidden layers for so many rows, ``[n_rows, width]`` each: 0, or 1 / (1 - rate)."""
        like = next(self.parameters())
        ones = (like.new_ones(n_rows, width) for width in self.widths[1:3])
        return [dropout(mask, rate) for mask, rate in zip(ones, self.rates, strict=True)]

    def forward(self, hidden: Tensor, masks: list[Tensor]) -> Tensor:
        """Scores ``[n]`` of what the first layer makes of rows, ``[n, n_items // 4]``: :meth:`first`."""
        for number, (norm, mask) in enumerate(zip(self.norms, masks, strict=True)):
            hidden = self.layers[number](hidden) if number else hidden
            active = hidden if self.slope == 1 else F.leaky_relu(hidden, self.slope)
            hidden = norm(active) * mask
        return _SCALE * self.layers[2](hidden).squeeze(1).sigmoid()

    def first(self, rows: Tensor | list[MaskedSimilarities]) -> Tensor:
        """The first layer, by far the largest, of rows ``[n, n_items]``: ``[n, n_items // 4]``."""
        layer = self.first_layer
        return layer(rows) if isinstance(rows, Tensor) else times(rows, layer.weight) + layer.bias

    @property
    def first_layer(self) -> nn.Linear:
        """The layer of ``n_items`` columns."""
        return cast(nn.Linear, self.layers[0])


class CriticDraw(NamedTuple):
    """What is drawn for a step of the critic.

    Attributes:
        uniform: in [0, 1) per user and item, for the Gumbel noise of real rows, ``[batch, n_items]``.
        alpha: in [0, 1) per row, for points between real and fake rows, ``[n_rows, 1]``.
        masks: the critic's dropout for fake rows, real rows, and points between.
    """

    uniform: Tensor
    alpha: Tensor
    masks: tuple[list[Tensor], list[Tensor], list[Tensor]]


def draw_critic(critic: Critic, n_users: int, n_rows: int) -> CriticDraw:
    """From torch's default generator, on the device and of the type of the critic."""
    like = next(critic.parameters())
    uniform, alpha = (
        torch.rand(shape, device=like.device).to(like) for shape in ((n_users, critic.widths[0]), (n_rows, 1))
    )
    fake, real, between = (critic.draw_masks(n_rows) for _ in range(3))
    return CriticDraw(uniform, alpha, (fake, real, between))


def real_rows(interactions: Tensor, similarities: Tensor, uniform: Tensor, noise: float, weight: float) -> Tensor:
    r"""``L2n(softmax(A + noise G) + weight Sim)`` with Gumbel noise ``G = -ln(-ln(r + 1e-8) + 1e-8)``.

    Args:
        interactions: A, ``[n, n_items]``.
        similarities: Sim, of the final vectors.
        uniform: r.
        noise: factor of G.
        weight: of Sim.
    """
    gumbel = -(-(uniform + _EPSILON).log() + _EPSILON).log()
    return l2_normalise((interactions + noise * gumbel).softmax(dim=1) + weight * similarities)


def critic_loss(critic: Critic, fake: Tensor, real: Tensor, drawn: CriticDraw, penalty: float) -> Tensor:
    r"""``mean D(fake) - mean D(real) + penalty mean (|grad D(x)| - 1)^2`` at x between real and fake rows.

    The first layer is affine: what it makes of x lies between what it makes of these rows, and is not computed again.

    Args:
        critic: D.
        fake, real: what its first layer makes of rows, ``[n, n_items // 4]``.
        drawn: of these rows.
        penalty: weight of the last term.
    """
    between = (drawn.alpha * real + (1 - drawn.alpha) * fake).requires_grad_()
    of_fake, of_real, of_between = (
        critic(hidden, masks) for hidden, masks in zip((fake, real, between), drawn.masks, strict=True)
    )
    (gradient,) = torch.autograd.grad(of_between.sum(), between, create_graph=True)
    steepness = ((gradient @ critic.first_layer.weight).norm(dim=1) - 1).square().mean()
    return of_fake.mean() - of_real.mean() + penalty * steepness
