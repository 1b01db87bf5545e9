"""Cosines of items' features with their behaviour, before and after the feature adapter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from recbole_mm.analysis.behaviour_cosines import BehaviourCosines, projected_modalities
from recbole_mm.analysis.items import item_ids, item_titles
from recbole_mm.load import OpenedCheckpoint

COSINES = ("before", "after", "before_swapped", "after_swapped")
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
    """

    label: str
    modality: str
    has_adapter: bool
    items: np.ndarray
    left_out: int
    titles: dict[str, str]
    values: np.ndarray

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
        yield Drift(label, name, cosines.has_adapter, shown, len(ids) - len(shown), titles, values)
