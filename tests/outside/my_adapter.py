"""A feature adapter in one file outside the package: a factor and a shift for every column."""

import torch
from torch import nn

from recbole_mm import AdapterSettings, FeatureAdapter, Real, register_adapter


class AffineSettings(AdapterSettings):
    """The key of the affine adapter."""

    affine_start: Real = 1.0
    """Factor that every column starts with."""


@register_adapter("affine", settings=AffineSettings)
class AffineAdapter(FeatureAdapter):
    """``x' = a * x + b``."""

    def __init__(self, width, config):
        super().__init__(width, config)
        self.factor = nn.Parameter(torch.full((width,), AffineSettings.of(config).affine_start))
        self.shift = nn.Parameter(torch.zeros(width))

    def forward(self, features, behaviour):
        """Adapted features ``[n, d]``."""
        return features * self.factor + self.shift
