"""BeCAM: the Score-CAM of BeFA, which weights an encoder's channels by how alike an item's behaviour they leave it.

The functions know no recommender. Masked pixels are 0, which after an encoder's preprocessing is its mean colour.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

EPSILON = 1e-8  # of the min-max scaling; a channel that varies by no more is constant


def upsample(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear, from ``[n, h, w]`` to ``[n, H, W]``; corners are not aligned."""
    return F.interpolate(maps.unsqueeze(1), size=size, mode="bilinear", align_corners=False).squeeze(1)


def min_max(maps: Tensor) -> Tensor:
    """Each map of ``[n, H, W]`` scaled to [0, 1]; a constant one becomes 0."""
    low, high = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
    return (maps - low) / (high - low + EPSILON)


def varying_channels(activation: Tensor) -> Tensor:
    """Which channels of ``[channels, h, w]`` are not constant, and so can mask anything: bool ``[channels]``."""
    return activation.amax(dim=(1, 2)) - activation.amin(dim=(1, 2)) > EPSILON


def masked_features(encode: Callable[[Tensor], Tensor], pixels: Tensor, activation: Tensor, batch: int) -> Tensor:
    """Features of a picture seen through each channel's activation (steps 2 to 4 of BeCAM).

    Args:
        encode: from pixels ``[n, 3, H, W]`` to features ``[n, width]``.
        pixels: the preprocessed picture, ``[3, H, W]``.
        activation: of its channels, ``[channels, h, w]``.
        batch: masked pictures encoded at a time.

    Returns:
        ``[channels, width]``.
    """
    size = (pixels.shape[1], pixels.shape[2])
    masks = (min_max(upsample(part, size)).unsqueeze(1) for part in activation.split(batch))
    return torch.cat([encode(pixels * mask) for mask in masks])


def attribution_map(weights: Tensor, activation: Tensor) -> Tensor:
    """``M = sum_n s_n A_n`` (Eq. 2 of the paper), ``[h, w]``, of weights ``[channels]`` and ``[channels, h, w]``."""
    return torch.einsum("n,nhw->hw", weights, activation)


def centred(weights: Tensor) -> Tensor:
    """Weights ``[channels]`` less their mean.

    Behaviour vectors that a positive gate scales have a positive cosine with themselves whatever the gate, so that
    without this the map of a gated feature shows all channels.
    """
    return weights - weights.mean()


def perturbed(pixels: Tensor, importance: Tensor, steps: int, batch: int) -> Iterator[Tensor]:
    """A picture from which the most important pixels are deleted, and one into which they are inserted.

    The deletion and insertion of RISE (Petsiuk et al., BMVC 2018), both with masked pixels 0.

    Args:
        pixels: the preprocessed picture, ``[3, H, W]``.
        importance: map ``[h, w]``, upsampled here to the picture; of equal pixels the upper left is the first.
        steps: in which all pixels go.
        batch: pictures at a time.

    Yields:
        ``[at most batch, 3, H, W]``: of the ``2 * (steps + 1)`` pictures deletions first, from none of the pixels on.
    """
    size = (pixels.shape[1], pixels.shape[2])
    order = upsample(importance.unsqueeze(0), size).flatten().argsort(descending=True, stable=True)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order), device=order.device)
    gone = torch.linspace(0, len(order), steps + 1, device=order.device).round()
    taken = rank.view(1, *size) < gone.view(-1, 1, 1)
    for shown in torch.cat([~taken, taken]).split(batch):
        yield pixels * shown.unsqueeze(1)


def area_under(curves: Tensor) -> Tensor:
    """Area by trapezia under curves ``[..., steps + 1]`` over the share of pixels, from 0 to 1."""
    return torch.trapezoid(curves, dx=1 / (curves.shape[-1] - 1), dim=-1)
