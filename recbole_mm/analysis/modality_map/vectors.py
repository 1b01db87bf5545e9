"""The modality features of some items as a checkpoint sees them, and their places in two dimensions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from recbole_mm.analysis.behaviour_cosines import projected_modalities, projecting_model
from recbole_mm.analysis.embedding_map.user_map import tsne
from recbole_mm.analysis.figures import is_constant
from recbole_mm.load import OpenedCheckpoint
from recbole_mm.model.recommender import Recommender


@dataclass(frozen=True)
class FeatureView:
    """The features of the same items in one modality.

    Attributes:
        label: name of the checkpoint.
        modality: theirs.
        stage: ``projected``, or ``adapted`` behind a feature adapter.
        ids: original ids of the items, ``[n]``.
        vectors: ``[n, d]``.
    """

    label: str
    modality: str
    stage: str
    ids: np.ndarray
    vectors: np.ndarray

    @property
    def panel(self) -> str:
        """What its panel is named: checkpoint, and stage where there are two."""
        return f"{self.label}, {self.stage}"


@dataclass(frozen=True)
class FeatureMap:
    """One panel: the views of all modalities in one t-SNE.

    Attributes:
        views: one for each modality.
        points: of each view, ``[n, 2]``.
        all_the_same: whether the vectors differ by no more than rounding.
    """

    views: list[FeatureView]
    points: list[np.ndarray]
    all_the_same: bool


def views_of(opened: OpenedCheckpoint, label: str, modalities: list[str], items: np.ndarray) -> Iterator[FeatureView]:
    """The projected features of some items and, where the checkpoint has an adapter, the adapted ones.

    Args:
        opened: the checkpoint.
        label: its name.
        modalities: that it projects by themselves.
        items: internal ids, ``[n]``.
    """
    model, names = projecting_model(opened), opened.dataset.field2id_token[opened.dataset.iid_field]
    ids = np.asarray(names, dtype=str)[items]
    chosen = torch.from_numpy(items)
    for name in modalities:
        with torch.no_grad():
            projected, adapted = _projected_and_adapted(model, name, chosen)
        yield FeatureView(label, name, "projected", ids, projected)
        if name in model.feature_adapters:
            yield FeatureView(label, name, "adapted", ids, adapted)


def _projected_and_adapted(model: Recommender, modality: str, items: Tensor) -> tuple[np.ndarray, np.ndarray]:
    table = model.feature(modality)
    items = items.to(table.device)
    projected = model.project_features(modality, F.embedding(items, table))
    return projected.cpu().numpy(), model.adapters.adapt(modality, projected, items).cpu().numpy()


def known_modalities(opened: OpenedCheckpoint, label: str, modality: str | None) -> list[str]:
    """Those to show: one, or all that the checkpoint projects by themselves.

    Raises ValueError where there are none, or not that one.
    """
    known = projected_modalities(opened, label)
    if modality is None:
        return known
    if modality not in known:
        raise ValueError(f"checkpoint {label} has no modality '{modality}'; those it has: {', '.join(known)}")
    return [modality]


def draw_items(opened: OpenedCheckpoint, modalities: list[str], count: int, seed: int) -> np.ndarray:
    """Original ids of `count` items that have features of their own in all modalities, or of all such items if fewer.

    Raises ValueError where fewer than four have.
    """
    dataset = opened.dataset
    present = torch.stack([dataset.modality_mask(name) for name in modalities]).all(dim=0).numpy().copy()
    present[0] = False
    candidates = np.flatnonzero(present)
    if len(candidates) < 4:
        raise ValueError(
            f"{len(candidates)} items of '{dataset.dataset_name}' have features of their own in "
            f"{' and '.join(modalities)}, and a map needs at least 4"
        )
    drawn = np.random.default_rng(seed).choice(candidates, min(count, len(candidates)), replace=False)
    return np.asarray(dataset.field2id_token[dataset.iid_field], dtype=str)[np.sort(drawn)]


def map_of(views: list[FeatureView], seed: int) -> FeatureMap:
    """All modalities of one panel together in one t-SNE."""
    vectors = np.concatenate([view.vectors for view in views])
    points = tsne(vectors, seed, f"t-SNE of {len(vectors)} features of {views[0].panel}")
    same = is_constant(vectors - vectors[0], float(np.abs(vectors).max()))
    return FeatureMap(views, np.split(points, np.cumsum([len(view.ids) for view in views])[:-1]), same)
