"""A way of tuning in one file outside the package: the biases of the attentions' queries (BitFit)."""

import torch

from recbole_mm import Real, Settings, register_tuning


class BitFitSettings(Settings):
    """The key of BitFit."""

    bitfit_start: Real = 0.0
    """What the biases start above their stored values."""


@register_tuning("bitfit", settings=BitFitSettings)
@torch.no_grad()
def tune_biases(encoder, settings):
    """Let the biases train, and nothing else."""
    for name, parameter in encoder.named_parameters():
        if name.endswith("self_attn.q_proj.bias"):
            parameter.requires_grad_(True).add_(settings.bitfit_start)
