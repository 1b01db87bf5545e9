"""Modality reliability and the calibration of modality weights (MARGO, Eqs. 5 to 8), as pure functions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

WRONG_ORDER = -1e6


def log_reliability(margins: Tensor) -> Tensor:
    """Logarithm of the reliability vector ``z = softmax_m(g(d))``, ``[batch, M]``.

    ``g(d) = d`` for a modality that ranks the pair rightly (``d >= 0``), else a large negative constant, so that its
    reliability is 0. Where all modalities are wrong z is uniform.

    Args:
        margins: unweighted modality margins ``d^m = y^m_ui - y^m_uk``, ``[batch, M]``.
    """
    return F.log_softmax(torch.where(margins >= 0, margins, torch.full_like(margins, WRONG_ORDER)), dim=-1)


def confidence(rating_margin: Tensor, margins: Tensor, temperature: float) -> Tensor:
    """How much a triplet is trusted, ``gamma = tanh((y_ui - y_uk) / tau)`` where positive, else 0; ``[batch]``.

    Args:
        rating_margin: margin of the weighted ratings, ``[batch]``.
        margins: unweighted modality margins, ``[batch, M]``; where all are negative the reliability vector says
            nothing and the confidence is 0.
        temperature: tau > 0.
    """
    trusted = (rating_margin > 0) & (margins >= 0).any(dim=-1)
    return torch.where(trusted, torch.tanh(rating_margin / temperature), torch.zeros_like(rating_margin))


def calibration_loss(
    log_z: Tensor, gamma: Tensor, positive_weights: Tensor, negative_weights: Tensor, joint: str = "sum"
) -> Tensor:
    """``mean_batch gamma * KL(z || w_i + w_k)``.

    The printed joint weight ``w_i + w_k`` sums to 2, so that the divergence can be negative. Its mean instead adds
    ``gamma * ln 2``: no gradient where gamma passes none, and else one of the other sign, as the sum rewards a larger
    gamma where the weights agree with z, and the mean punishes one.

    Args:
        log_z: logarithm of the reliability vectors, ``[batch, M]``.
        gamma: confidences, ``[batch]``.
        positive_weights, negative_weights: modality weights of the two items, ``[batch, M]``, rows summing to 1.
        joint: ``sum``, or ``mean`` of the two weights.
    """
    weights = positive_weights + negative_weights
    log_joint = (weights / 2 if joint == "mean" else weights).log()
    divergence = (log_z.exp() * (log_z - log_joint)).sum(dim=-1)
    return (gamma * divergence).mean()
