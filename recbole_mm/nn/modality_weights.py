"""Fixed weights by which the graphs or vectors of several modalities are added."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence


def modality_weights(
    weights: Sequence[float] | Mapping[str, float] | None, modalities: Sequence[str], visual: float
) -> list[float]:
    """The key `modality_weights`, one number per modality in the order of `modalities`; the log says which.

    Args:
        weights: as configured, in the order of `modalities` or by name. None gives ``visual`` and one other modality
            the paper's weights, wherever each stands; where the names do not say which is the paper's, all are equal.
        modalities: names of the modalities in use.
        visual: the paper's weight of ``visual``; its other modality has the rest to 1.

    Raises:
        ValueError: another number of weights than modalities, other names, or none above 0.
    """
    chosen = _default(modalities, visual) if weights is None else _configured(weights, modalities)
    if not any(chosen):
        raise ValueError(f"modality_weights: {weights} are all 0; give one that is not")
    shown = ", ".join(f"{name} {weight:g}" for name, weight in zip(modalities, chosen, strict=True))
    logging.getLogger(__name__).info("modality_weights: %s%s", shown, "" if weights else " (by default)")
    return chosen


def _default(modalities: Sequence[str], visual: float) -> list[float]:
    if len(modalities) == 2 and "visual" in modalities:
        return [visual if name == "visual" else 1 - visual for name in modalities]
    return [1 / len(modalities)] * len(modalities)


def _configured(weights: Sequence[float] | Mapping[str, float], modalities: Sequence[str]) -> list[float]:
    names = ", ".join(modalities)
    if isinstance(weights, Mapping):
        if set(weights) != set(modalities):
            raise ValueError(f"modality_weights: {dict(weights)} must give a number for each of {names}, and no other")
        return [float(weights[name]) for name in modalities]
    if not isinstance(weights, (list, tuple)) or len(weights) != len(modalities):
        raise ValueError(f"modality_weights: {weights} must be one number for each of {names}")
    return [float(weight) for weight in weights]
