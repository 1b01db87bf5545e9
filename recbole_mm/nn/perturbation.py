"""Noise that moves every vector by the same length within its own orthant (SimGCL, 2022; MENTOR, GUME)."""

from __future__ import annotations

import torch
from torch import Tensor

from recbole_mm.nn.normalise import l2_normalise

LENGTH = 0.1


def uniform_noise(like: Tensor) -> Tensor:
    """Uniform values of [0, 1) in the shape of `like`, drawn as float32: float64 then sees the same numbers."""
    return torch.rand(like.shape, device=like.device).to(like.dtype)


def perturb(rows: Tensor, noise: Tensor) -> Tensor:
    """``x + 0.1 sign(x) r / |r|`` over the last axis, by which a row without zeros moves by exactly 0.1.

    No gradient goes through the sign; where x is zero it stays.

    Args:
        rows: x, ``[..., d]``.
        noise: r of the same shape, such as :func:`uniform_noise` draws.
    """
    return rows + LENGTH * rows.detach().sign() * l2_normalise(noise)
