"""How alike items' features and behaviour vectors are, before and after a checkpoint's feature adapter."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from recbole_mm.load import OpenedCheckpoint
from recbole_mm.model.backbone_model import BackboneModel
from recbole_mm.model.recommender import Recommender


def projecting_model(opened: OpenedCheckpoint) -> Recommender:
    """The model that projects and adapts features: the checkpoint's, or the backbone that it wraps (MARGO, PTMRec)."""
    return opened.model.backbone if isinstance(opened.model, BackboneModel) else opened.model


def projected_modalities(opened: OpenedCheckpoint, label: str) -> list[str]:
    """The modalities that a checkpoint projects by themselves, and adapts if it has an adapter.

    Raises:
        ValueError: it has none.
    """
    model = projecting_model(opened)
    if not getattr(model, "adapts_features", False):
        raise ValueError(f"checkpoint {label}: {type(model).__name__} uses no projected features to compare")
    found = [name for name in model.modalities if name in model.projected_features]
    if not found:
        raise ValueError(
            f"checkpoint {label}: {type(model).__name__} projects its modalities together, not each by itself"
        )
    return found


class BehaviourCosines:
    """The cosines of one checkpoint in one modality; without a feature adapter, those after are those before.

    Raises:
        ValueError: the checkpoint has no such modality that it projects by itself, or no ID vectors of its items.
    """

    def __init__(self, opened: OpenedCheckpoint, label: str, modality: str):
        model, known = projecting_model(opened), projected_modalities(opened, label)
        if modality not in known:
            raise ValueError(f"checkpoint {label} has no modality '{modality}'; those it has: {', '.join(known)}")
        if model.behaviour_vectors is None:
            raise ValueError(
                f"checkpoint {label}: {type(model).__name__} has no ID vectors of items to compare features with, "
                f"unless its adapter reads them, as befa does"
            )
        width = model.project_features(modality, model.feature(modality)[:1]).shape[1]
        if width != model.behaviour_vectors.shape[1]:
            raise ValueError(
                f"checkpoint {label}: without an adapter {type(model).__name__} leaves '{modality}' features {width} "
                f"wide, which is not the width of its ID vectors, {model.behaviour_vectors.shape[1]}"
            )
        self.label = label
        self.opened = opened
        self.model = model
        self.modality = modality
        self._scaling = opened.dataset.modality_scaling(modality)

    @property
    def has_adapter(self) -> bool:
        """Whether anything stands between before and after."""
        return self.modality in self.model.feature_adapters

    @property
    def feature_width(self) -> int:
        """Width of the features that the checkpoint was trained on."""
        return self.model.feature(self.modality).shape[1]

    @property
    def tuned_encoder(self) -> Any:
        """The encoder that was tuned with the model; None where none was, or it makes other modalities."""
        if not len(getattr(self.opened.model, "tuned", ())):
            return None
        contents: Any = self.opened.model.contents
        return contents.encoder if self.modality in contents.modalities else None

    def known_row(self, item: int) -> Tensor:
        """The feature ``[width]`` that the model has of an item: NaN where the data set has none.

        Where the encoder was tuned it is the one that it made last, otherwise the data set's.
        """
        known = self.opened.dataset.modality_mask(self.modality)[item]
        if self.tuned_encoder is None:
            row = self.opened.dataset.modality_feature(self.modality)[item]
        else:
            row = self.model.feature(self.modality)[item].detach()
        return row if known else torch.full_like(row, torch.nan)

    def as_trained_on(self, features: Tensor) -> Tensor:
        """Features ``[n, width]`` fresh from an encoder, scaled as the data set's were."""
        return self._scaling(features)

    @torch.no_grad()
    def of_encoded(self, features: Tensor, items: Tensor) -> Tensor:
        """Cosines ``[2, n]``, before and after, of features ``[n, width]`` fresh from an encoder; items ``[n]``."""
        return self._cosines(self.as_trained_on(features), items)

    def items_with_features(self) -> Tensor:
        """Internal ids ``[n]`` of the items that have features of their own; the others' are imputed."""
        mask = self.opened.dataset.modality_mask(self.modality).clone()
        mask[0] = False  # [PAD]
        return mask.nonzero().flatten()

    @torch.no_grad()
    def of_items(self, items: Tensor, swapped: bool = False) -> Tensor:
        """Cosines ``[2, n]``, before and after, of the model's features of items ``[n]``.

        Args:
            swapped: each item with the feature of another, half the items away: what an adapter gives any feature.
        """
        table = self.model.feature(self.modality)
        items = items.to(table.device)
        features = F.embedding(items, table)
        return self._cosines(features.roll(len(features) // 2, dims=0) if swapped else features, items)

    @torch.no_grad()
    def vectors_of_items(self, items: Tensor) -> tuple[Tensor, Tensor]:
        """Projected features before and after the adapter ``[2, n, d]`` and ID vectors ``[n, d]`` of items ``[n]``."""
        items = items.to(self.model.behaviour_vectors.device)
        projected = self.model.project_features(self.modality, F.embedding(items, self.model.feature(self.modality)))
        adapted = self.model.adapters.adapt(self.modality, projected, items)
        return torch.stack([projected, adapted]), F.embedding(items, self.model.behaviour_vectors)

    @torch.no_grad()
    def gates_of_items(self, items: Tensor) -> Tensor | None:
        """The gate of an adapter that has one (BeFA), ``[n, d]`` of items ``[n]``; None of another."""
        if not (self.has_adapter and hasattr(self.model.feature_adapters[self.modality], "gate")):
            return None
        (projected, _), behaviour = self.vectors_of_items(items)
        return self.model.feature_adapters[self.modality].gate(projected, behaviour)

    def _cosines(self, features: Tensor, items: Tensor) -> Tensor:
        projected = self.model.project_features(self.modality, features)
        behaviour = F.embedding(items, self.model.behaviour_vectors)
        before = F.cosine_similarity(projected, behaviour)
        adapted = self.model.adapters.adapt(self.modality, projected, items)
        return torch.stack([before, F.cosine_similarity(adapted, behaviour)])
