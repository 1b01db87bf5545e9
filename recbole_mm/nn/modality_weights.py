"""Fixed weights by which the graphs or vectors of several modalities are added."""

from __future__ import annotations

from collections.abc import Sequence


def modality_weights(weights: Sequence[float] | None, modalities: Sequence[str], visual: float) -> list[float]:
    """The key `modality_weights`: one number per modality, in the order of `modalities`.

    Args:
        weights: as configured. None gives ``visual`` and one other modality the paper's weights, wherever each stands,
            and any others equal weights that sum to 1.
        modalities: names of the modalities in use.
        visual: the paper's weight of ``visual``; its other modality has the rest to 1.

    Raises:
        ValueError: another number of weights than modalities.
    """
    if weights is None:
        if len(modalities) == 2 and "visual" in modalities:
            return [visual if name == "visual" else 1 - visual for name in modalities]
        return [1 / len(modalities)] * len(modalities)
    if not isinstance(weights, (list, tuple)) or len(weights) != len(modalities):
        names = ", ".join(modalities)
        raise ValueError(f"modality_weights: {weights} must be a list of one number for each of {names}")
    return [float(weight) for weight in weights]
