"""How alike items' features and behaviour vectors are, before and after a checkpoint's feature adapter."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from recbole_mm.load import OpenedCheckpoint


def adapted_modalities(opened: OpenedCheckpoint, label: str) -> list[str]:
    """The modalities that a checkpoint projects by themselves and adapts.

    Raises:
        ValueError: it has no feature adapter, or none of one modality.
    """
    model, name = opened.model, opened.config["model"]
    if len(getattr(model, "feature_adapters", ())) == 0:
        raise ValueError(
            f"checkpoint {label}: this {name} has no feature adapter of its own, so that there is no before and after; "
            f"train one with feature_adapter: befa, lora or soft_prompt"
        )
    found = [one for one in model.modalities if one in model.projected_features]
    if not found:
        raise ValueError(f"checkpoint {label}: {name} projects its modalities together, not each by itself")
    return found


class BehaviourCosines:
    """The cosines of one checkpoint in one modality.

    Raises:
        ValueError: the checkpoint has no such modality that it adapts by itself, or no ID vectors of its items.
    """

    def __init__(self, opened: OpenedCheckpoint, label: str, modality: str):
        model, known = opened.model, adapted_modalities(opened, label)
        if modality not in known:
            raise ValueError(f"checkpoint {label} has no modality '{modality}'; those it has: {', '.join(known)}")
        if not model.has_item_ids and not hasattr(model, "behaviour_embedding"):
            raise ValueError(
                f"checkpoint {label}: {opened.config['model']} has no ID vectors of items to compare features with, "
                f"unless its adapter reads them, as befa does"
            )
        self.label = label
        self.opened = opened
        self.model = model
        self.modality = modality
        self._normalised = bool(opened.config["normalize_feature"])

    @property
    def feature_width(self) -> int:
        """Width of the features that the checkpoint was trained on."""
        return self.model.feature(self.modality).shape[1]

    @torch.no_grad()
    def of_encoded(self, features: Tensor, items: Tensor) -> Tensor:
        """Cosines ``[2, n]``, before and after, of features ``[n, width]`` fresh from an encoder; items ``[n]``.

        They are normalised where the data set's were.
        """
        return self._cosines(F.normalize(features) if self._normalised else features, items)

    @torch.no_grad()
    def of_all_items(self, swapped: bool = False) -> Tensor:
        """Cosines ``[2, n_items - 1]``, before and after, of the model's features of all items but [PAD].

        Args:
            swapped: each item with the feature of another, half the table away: what an adapter gives any feature.
        """
        features = self.model.feature(self.modality)[1:]
        if swapped:
            features = features.roll(len(features) // 2, dims=0)
        return self._cosines(features, torch.arange(1, self.model.n_items, device=features.device))

    def _cosines(self, features: Tensor, items: Tensor) -> Tensor:
        projected = self.model.project_features(self.modality, features)
        behaviour = F.embedding(items, self.model.behaviour_vectors)
        before = F.cosine_similarity(projected, behaviour)
        adapted = self.model.adapt(self.modality, projected, items)
        return torch.stack([before, F.cosine_similarity(adapted, behaviour)])
