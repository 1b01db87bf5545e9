"""The feature adapters of a model: one per projected feature, or none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.nn.functional as F
from recbole.config import Config
from torch import Tensor, nn

from recbole_mm.nn.feature_adapter import adapter_class
from recbole_mm.parts import place_of

if TYPE_CHECKING:
    from recbole_mm.model.base import MultimodalRecommender


class FeatureAdapters:
    """What ``feature_adapter`` puts behind a model's projections; without the key it changes nothing.

    The layers are registered with the model as ``feature_adapters``.

    Args:
        model: the owner, of whose ``behaviour_vectors`` adapters read.
        names: of the projected features.
        config: of which adapters read their own keys.

    Raises:
        ValueError: there is no adapter of the configured name, or, by :meth:`adapt`, it gives another shape.
    """

    def __init__(self, model: MultimodalRecommender, names: list[str], config: Config):
        self._model = model
        self.kind = model.settings.feature_adapter
        adapter = adapter_class(self.kind)
        layers = {} if adapter is None else {name: adapter(model.embedding_size, config) for name in names}
        model.feature_adapters = nn.ModuleDict(layers)
        self.freeze_projections = bool(layers) and model.settings.adapter_projections == "frozen"
        self.gate_behaviour = adapter is not None and bool(layers) and adapter.gates_behaviour
        self.need_behaviour = adapter is not None and bool(layers) and adapter.needs_behaviour

    def __bool__(self) -> bool:
        return bool(self._model.feature_adapters)

    def adapt(self, name: str, projected: Tensor, items: Tensor | None = None) -> Tensor:
        """Projected features ``[n, d]`` of some items, or of all, after the adapter; unchanged where there is none.

        Args:
            name: of the projected feature.
            items: ``[n]`` item ids; all if not given.
        """
        if name not in self._model.feature_adapters:
            return projected
        behaviour = None
        if self.need_behaviour:
            table = self._model.behaviour_vectors
            behaviour = table if table is None or items is None else F.embedding(items, table)
        adapter = self._model.feature_adapters[name]
        adapted = adapter(projected, behaviour)
        if getattr(adapted, "shape", None) != projected.shape:
            given = list(adapted.shape) if isinstance(adapted, Tensor) else type(adapted).__name__
            raise ValueError(
                f"feature_adapter: '{self.kind}' ({place_of(type(adapter))}) made {given} of features "
                f"{list(projected.shape)}; its forward is to give as many, of the same width"
            )
        return adapted

    def check(self) -> None:
        """Raise ValueError where the model has no place for its adapters, or not what they read."""
        if not self:
            return
        model = type(self._model).__name__
        if not self._model.adapts_features:
            raise ValueError(no_place_for_adapter(model, self.kind))
        if self.need_behaviour and self._model.behaviour_vectors is None:
            raise ValueError(
                f"feature_adapter: '{self.kind}' reads ID vectors of items, and {model} has no `item_embedding`; "
                "choose another adapter, or another model"
            )


def no_place_for_adapter(model: str, adapter: str) -> str:
    """Why a model cannot have a feature adapter."""
    return (
        f"feature_adapter: {model} has no place for '{adapter}' between projected features and their use; leave the "
        f"key at none, or choose another model"
    )
