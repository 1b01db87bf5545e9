"""Features of pictures without weights: histograms of colours, of small patterns and of edges.

They tell red from blue, plain from striped and upright from lying, not a shoe from a hat; enough to go all the way from
pictures to a trained model without a download, and a floor that a pretrained encoder should be above.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from recbole_mm.encoder.content_encoder import ContentEncoder
from recbole_mm.registry import register_encoder

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

HISTOGRAMS = "histograms"
SIDE = 128  # pixels of the square that pictures are brought to
COLOURS = (8, 3, 3)  # steps of hue, saturation and brightness
PATTERNS = 10  # uniform local binary patterns of 8 neighbours, whatever their rotation, and one for the rest
CELLS, DIRECTIONS = 4, 8  # edges: by places along a side, and by direction
WIDTH = int(np.prod(COLOURS)) + PATTERNS + CELLS * CELLS * DIRECTIONS
_NEIGHBOURS = ((0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0))  # of a pixel, in a circle


@register_encoder(HISTOGRAMS, reads="pictures")
class Histograms(ContentEncoder):
    """Roots of shares, each of the three parts of length 1, so that a dot product compares distributions (Hellinger).

    The parts are a joint histogram of hue, saturation and brightness; local binary patterns (Ojala et al. 2002, P = 8,
    R = 1, rotation-invariant and uniform); and gradients by direction and place (Dalal and Triggs 2005, no blocks).
    """

    def __init__(self) -> None:
        settings = {"side": SIDE, "colours": list(COLOURS), "patterns": PATTERNS, "edges": [CELLS, CELLS, DIRECTIONS]}
        super().__init__({"encoder": HISTOGRAMS, "revision": "1", "preprocessing": settings})

    def forward(self, contents: list[Picture]) -> Tensor:
        """Features ``[n, WIDTH]``; a picture of one colour has no edges, which leaves that part zero."""
        return torch.from_numpy(np.stack([_features(picture) for picture in contents]))


def _features(picture: Picture) -> np.ndarray:
    square = picture.convert("RGB").resize((SIDE, SIDE))
    grey = np.asarray(square.convert("L"), dtype=np.float64)
    parts = (_colours(np.asarray(square.convert("HSV"))), _patterns(grey), _edges(grey))
    return np.concatenate([np.sqrt(part / max(part.sum(), 1e-12)) for part in parts]).astype(np.float32)


def _colours(pixels: np.ndarray) -> np.ndarray:
    """How many pixels `[side, side, 3]` of hue, saturation and brightness are in each class."""
    classes = pixels.reshape(-1, 3).astype(np.int64) * COLOURS // 256
    return np.bincount(np.ravel_multi_index(classes.T, COLOURS), minlength=int(np.prod(COLOURS)))


def _patterns(grey: np.ndarray) -> np.ndarray:
    """How many inner pixels of `[side, side]` have 0 to 8 neighbours in a row that are as bright; the rest last."""
    inner = SIDE - 2
    centre = grey[1:-1, 1:-1]
    brighter = np.stack([grey[row : row + inner, column : column + inner] >= centre for row, column in _NEIGHBOURS])
    changes = (brighter != np.roll(brighter, 1, axis=0)).sum(axis=0)
    return np.bincount(np.where(changes <= 2, brighter.sum(axis=0), PATTERNS - 1).ravel(), minlength=PATTERNS)


def _edges(grey: np.ndarray) -> np.ndarray:
    """Lengths of the gradients of `[side, side]`, summed by cell and direction."""
    down, across = np.gradient(grey)
    direction = np.round(np.arctan2(down, across) / np.pi * DIRECTIONS).astype(np.int64) % DIRECTIONS
    cell = np.arange(SIDE) * CELLS // SIDE
    place = cell[:, None] * CELLS + cell
    return np.bincount(
        (place * DIRECTIONS + direction).ravel(), np.hypot(down, across).ravel(), minlength=CELLS * CELLS * DIRECTIONS
    )
