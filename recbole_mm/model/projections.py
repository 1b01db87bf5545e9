"""The projections of a model: features to the width of its vectors, and the feature adapters behind them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recbole_mm.nn.row_projection import project_rows, project_table


class Projections(nn.Module):
    """Projected and adapted features of a model, by name. A model that has such a part takes feature adapters.

    Args:
        model: the :class:`~recbole_mm.model.base.MultimodalRecommender` whose features and adapters these are.
    """

    def _attach(self, model: Any) -> None:
        self.tables, self.adapters = model.features, model.adapters
        if self.adapters.freeze_projections:
            self.requires_grad_(False)
        self.names: list[str] = model.projected_features

    def project(self, name: str, items: Tensor | None = None) -> Tensor:
        """Projected and adapted features ``[n, d]`` of some distinct items ``[n]``, or of all."""
        return self.adapters.adapt(name, self.rows(name, items), items)

    def project_all(self) -> list[Tensor]:
        """Those of all items, ``[n_items, d]`` for each name."""
        return [self.project(name) for name in self.names]

    def rows(self, name: str, items: Tensor | None = None) -> Tensor:
        """Projected features ``[n, d]`` of some distinct items, or of all, before the adapter."""
        feature = self.tables[name]
        return self.of(name, feature if items is None else F.embedding(items, feature))

    def of(self, name: str, features: Tensor) -> Tensor:
        """Projected features ``[n, d]`` of any features ``[n, width]``, before the adapter."""
        raise NotImplementedError


class ModalityProjections(Projections, nn.ModuleList):
    """One layer per modality.

    Args:
        model: the owner, which registers this part under a name of its own.
        layers: of each modality, in their order; ``nn.Linear`` if not given.
        activation: behind the layers.
        names: of the layers, where they are not of the modalities alone.
    """

    def __init__(
        self,
        model: Any,
        layers: Iterable[nn.Module] | None = None,
        activation: Callable[[Tensor], Tensor] | None = None,
        names: list[str] | None = None,
    ):
        if layers is None:
            layers = (nn.Linear(width, model.embedding_size) for width in model.features.widths)
        super().__init__(layers)
        self._attach(model)
        self.names = names or self.names
        self.activation = activation

    def layer(self, name: str) -> nn.Module:
        """The layer of a modality."""
        return self[self.names.index(name)]

    def rows(self, name: str, items: Tensor | None = None) -> Tensor:
        layer = self.layer(name)
        if type(layer) is not nn.Linear:  # a subclass may do more
            return super().rows(name, items)
        if items is None:
            return self._activated(project_table(self.tables[name], layer.weight, layer.bias))
        projected = project_rows(self.tables[name], items, layer.weight)
        return self._activated(projected if layer.bias is None else projected + layer.bias)

    def of(self, name: str, features: Tensor) -> Tensor:
        return self._activated(self.layer(name)(features))

    def _activated(self, projected: Tensor) -> Tensor:
        return projected if self.activation is None else self.activation(projected)


class MatrixProjections(Projections, nn.ParameterList):
    """One matrix ``[width, d]`` per modality, without a bias.

    Args:
        model: the owner.
        matrices: of each modality, in their order.
    """

    def __init__(self, model: Any, matrices: Iterable[nn.Parameter]):
        super().__init__(matrices)
        self._attach(model)

    def of(self, name: str, features: Tensor) -> Tensor:
        return features @ self[self.names.index(name)]


class JointProjection(Projections, nn.Linear):
    """One layer for all modalities' features side by side, under the one name ``content``.

    A product with concatenated features is the sum of the products with each, which needs no copy. With one modality
    it is that one's, under its own name.
    """

    def __init__(self, model: Any):
        super().__init__(sum(model.features.widths), model.embedding_size)
        self._attach(model)

    def rows(self, name: str, items: Tensor | None = None) -> Tensor:
        projected: Tensor = self.bias
        for modality, weight in zip(self.tables.names, self.weights(), strict=True):
            feature = self.tables[modality]
            part = project_table(feature, weight) if items is None else project_rows(feature, items, weight)
            projected = projected + part
        return projected

    def of(self, name: str, features: Tensor) -> Tensor:
        return self(features)

    def weights(self) -> tuple[Tensor, ...]:
        """The part of the weight ``[d, width]`` that each modality's features meet."""
        return self.weight.split(self.tables.widths, dim=1)

    def share(self, modality: str, features: Tensor) -> Tensor:
        """What features ``[n, width]`` of one modality add to the content ``[n, d]``, with the bias."""
        return F.linear(features, self.weights()[self.tables.names.index(modality)], self.bias)


def xavier_matrices(widths: Iterable[int], size: int) -> list[nn.Parameter]:
    """Matrices ``[width, size]`` with Xavier uniform values."""
    return [nn.Parameter(nn.init.xavier_uniform_(torch.empty(width, size))) for width in widths]
