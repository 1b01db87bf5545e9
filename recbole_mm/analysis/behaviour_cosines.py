"""How alike items' features and behaviour vectors are, before and after a checkpoint's feature adapter."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from recbole_mm.load import OpenedCheckpoint


class BehaviourCosines:
    """The cosines of one checkpoint in one modality.

    Raises:
        ValueError: the checkpoint has no such modality or does not project it by itself, no feature adapter, or no
            ID vectors of its items to compare with.
    """

    def __init__(self, opened: OpenedCheckpoint, label: str, modality: str):
        model = opened.model
        if modality not in getattr(model, "modalities", []):
            known = ", ".join(getattr(model, "modalities", [])) or "none"
            raise ValueError(f"checkpoint {label} has no modality '{modality}'; those it has: {known}")
        if len(getattr(model, "feature_adapters", ())) == 0:
            raise ValueError(
                f"checkpoint {label} ({opened.config['model']}) has no feature adapter of its own, so that there is no "
                f"before and after; train it with feature_adapter: befa, lora or soft_prompt"
            )
        if not model.has_item_ids and not hasattr(model, "behaviour_embedding"):
            raise ValueError(
                f"checkpoint {label}: {opened.config['model']} has no ID vectors of items to compare with, unless its "
                f"adapter is befa"
            )
        if modality not in model.projected_features:
            raise ValueError(
                f"checkpoint {label}: {opened.config['model']} does not project '{modality}' by itself; choose a "
                f"checkpoint of another model"
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
    def of_all_items(self) -> Tensor:
        """Cosines ``[2, n_items - 1]``, before and after, of the model's features of all items but [PAD]."""
        items = torch.arange(1, self.model.n_items, device=self.model.feature(self.modality).device)
        return self._cosines(self.model.feature(self.modality)[1:], items)

    def _cosines(self, features: Tensor, items: Tensor) -> Tensor:
        projected = self.model.project_features(self.modality, features)
        behaviour = F.embedding(items, self.model.behaviour_vectors)
        before = F.cosine_similarity(projected, behaviour)
        adapted = self.model.adapt(self.modality, projected, items)
        return torch.stack([before, F.cosine_similarity(adapted, behaviour)])
