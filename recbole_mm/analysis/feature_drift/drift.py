"""Cosines of items' features with their behaviour, before and after the feature adapter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from recbole_mm.analysis.behaviour_cosines import BehaviourCosines, projected_modalities
from recbole_mm.analysis.items import item_ids, item_titles
from recbole_mm.load import OpenedCheckpoint

COSINES = ("before", "after", "before_swapped", "after_swapped")
PARTS = ("angle", "projection", "omission", "drift")
MEASURABLE = 1e-3  # change of a cosine; what rounding makes is smaller


@dataclass(frozen=True)
class Drift:
    """One checkpoint's cosines in one modality.

    Attributes:
        has_adapter: whether anything can change.
        items: original ids ``[n]`` of those that have features of their own.
        left_out: how many have none.
        titles: by original id.
        values: ``[4, n]`` in the order of COSINES.
        parts: ``[2, 4, n]``, before and after the adapter, in the order of PARTS: see :func:`parts_of`.
        gate: mean of the adapter's gate, and its standard deviation over items (mean over d); None without a gate.
    """

    label: str
    modality: str
    has_adapter: bool
    items: np.ndarray
    left_out: int
    titles: dict[str, str]
    values: np.ndarray
    parts: np.ndarray
    gate: tuple[float, float] | None = None

    @property
    def name(self) -> str:
        """What a reader knows it by."""
        return f"{self.label}: {self.modality}"

    @property
    def change(self) -> np.ndarray:
        """After less before, ``[n]``."""
        return self.values[1] - self.values[0]

    @property
    def no_change(self) -> str | None:
        """Why no items are ranked by their change; None where they are."""
        if not self.has_adapter:
            return "there is no feature adapter"
        return None if np.abs(self.change).max() >= MEASURABLE else "the adapter changes nothing measurable"

    def most_changed(self, top: int) -> np.ndarray:
        """Places of the items with the largest change, up or down, the largest first; at most `top`, or none."""
        if self.no_change:
            return np.empty(0, int)
        return np.argsort(-np.abs(self.change), kind="stable")[:top]


def drifts_of(opened: OpenedCheckpoint, label: str, modality: str | None) -> Iterator[Drift]:
    """Of one modality, or of every one that the checkpoint projects.

    Raises:
        ValueError: the checkpoint has no item ID vectors or no such projected modality.
    """
    ids, titles = item_ids(opened.dataset), item_titles(opened.dataset)
    for name in [modality] if modality is not None else projected_modalities(opened, label):
        cosines = BehaviourCosines(opened, label, name)
        items = cosines.items_with_features()
        values = np.concatenate([cosines.of_items(items, swapped).cpu().numpy() for swapped in (False, True)])
        shown = ids[items.numpy() - 1]
        vectors, behaviour = (table.cpu().numpy() for table in cosines.vectors_of_items(items))
        parts = np.stack([parts_of(vector, behaviour) for vector in vectors])
        facts = (shown, len(ids) - len(shown), titles, values, parts, _spread(cosines.gates_of_items(items)))
        yield Drift(label, name, cosines.has_adapter, *facts)


def parts_of(features: np.ndarray, behaviour: np.ndarray) -> np.ndarray:
    r"""How a feature x misses behaviour e, ``[4, n]`` of vectors ``[n, d]``, after BeFA's Eqs. 4 to 7.

    - angle: :math:`\theta` between the two, in degrees;
    - projection: :math:`p = \|x\| \cos\theta`, the length of x along e, negative where it points away from it;
    - omission: :math:`\Delta = \|e\| - p`, what behaviour follows and the feature lacks, negative where it has more;
    - drift: :math:`\|x\| \sin\theta`, what the feature tells and behaviour does not follow.

    The last three are in units of the mean length of the items' e, so that checkpoints can be compared. Together the
    two misses are the distance, :math:`\|x - e\|^2 = drift^2 + omission^2`.
    """
    x, e = features.astype(np.float64), behaviour.astype(np.float64)
    lengths, of_behaviour = np.linalg.norm(x, axis=1), np.linalg.norm(e, axis=1)
    # an ID vector of no length has no direction: then all of the feature is drift
    projection = (x * e).sum(axis=1) / np.where(of_behaviour > 0, of_behaviour, 1)
    drift = np.sqrt(np.maximum(lengths**2 - projection**2, 0))
    angle = np.degrees(np.arctan2(drift, projection))
    unit = of_behaviour.mean() or 1.0
    return np.stack([angle, projection / unit, (of_behaviour - projection) / unit, drift / unit])


def _spread(gates: Tensor | None) -> tuple[float, float] | None:
    return None if gates is None else (gates.mean().item(), gates.std(dim=0, correction=0).mean().item())
