"""The base class of every multimodal recommender."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from recbole.config import Config
from torch import Tensor, nn

from recbole_mm.data.dataset import MultimodalDataset
from recbole_mm.graph import SparseOperator, combine, joins_nothing, knn_graph, tell_of_no_edges
from recbole_mm.model.adapters import FeatureAdapters
from recbole_mm.model.features import FeatureTables
from recbole_mm.model.graphs import GraphRecommender
from recbole_mm.model.projections import Projections
from recbole_mm.nn.modality_weights import modality_weights


class MultimodalRecommender(GraphRecommender):
    """A recommender on modality features and the graph of the training interactions.

    Features are constants, or with ``trainable_features: True`` parameters that start as the features; item graphs are
    built from the features as loaded in either case. A model that has a part of
    :class:`~recbole_mm.model.projections.Projections` takes the key ``feature_adapter``.

    Attributes:
        item_graphs_name: attribute that holds what :meth:`build_item_graphs` gave; None of a model without constant
            item graphs.
        features: the modalities' features, by name.
        missing: which items have none, by modality, bool ``[n_items]`` without [PAD]; their rows are made up.
        adapters: what stands behind the projected features.
    """

    item_graphs_name: str | None = None
    id_only_model: str | None = "LightGCN"
    feature_adapters: nn.ModuleDict

    def __init__(self, config: Config, dataset: MultimodalDataset):
        super().__init__(config, dataset)
        if not getattr(dataset, "modalities", None):
            raise ValueError(no_features(type(self).__name__, config))
        self.features = FeatureTables(self, dataset, self.settings.trainable_features)
        self.modalities = self.features.names
        self.missing = {name: ~dataset.modality_mask(name) for name in self.modalities}
        for missing in self.missing.values():
            missing[0] = False
        self.adapters = FeatureAdapters(self, self.projected_features, config)

    def feature(self, modality: str) -> Tensor:
        """Features of one modality, ``[n_items, width]``; row 0 ([PAD]) is zero unless they are trained."""
        return self.features[modality]

    # ---------------------------------------------------------------- projected features

    @property
    def projected_features(self) -> list[str]:
        """Names of the features that are projected by themselves, each with an adapter of its own."""
        return self.modalities

    @property
    def projecting(self) -> Projections | None:
        """The part that projects features; None of a model without."""
        return next((part for part in self.children() if isinstance(part, Projections)), None)

    @property
    def adapts_features(self) -> bool:
        """Whether the model has a place for a feature adapter."""
        return self.projecting is not None

    @property
    def behaviour_vectors(self) -> Tensor | None:
        """ID vectors of items, ``[n_items, d]``, that adapters read: the model's `item_embedding`, where it has one."""
        return getattr(self, "item_embedding", None)

    def project_features(self, modality: str, features: Tensor) -> Tensor:
        """Projected features ``[n, d]``, as adapters take them, of any features ``[n, width]`` of a modality.

        They need not be rows of :meth:`feature`: an analysis asks what the model makes of a changed picture.

        Raises:
            ValueError: the model does not project this modality, or not by itself.
        """
        part = self.projecting
        alone = [] if part is None else [name for name in part.names if name in self.modalities]
        if part is None or modality not in alone:
            raise ValueError(
                f"{type(self).__name__} does not project '{modality}' features by themselves (those it does: "
                f"{', '.join(alone) or 'none'})"
            )
        return part.of(modality, features)

    def modality_vectors(self, modality: str, features: Tensor) -> Tensor:
        """One modality's share of items, ``[n, d]``, of features ``[n, width]``: as projected."""
        return self.project_features(modality, features)

    def start_epoch(self, epoch: int) -> None:
        """As :meth:`Recommender.start_epoch`; raises ValueError where the model has no place for its adapter."""
        self.adapters.check()
        super().start_epoch(epoch)

    @property
    def id_tables(self) -> tuple[Tensor, Tensor]:
        """Raw ID vectors of users ``[n_users, d]`` and items ``[n_items, d]``; raises ValueError of a model without."""
        users, items = getattr(self, "user_embedding", None), self.behaviour_vectors
        if not (isinstance(users, Tensor) and isinstance(items, Tensor)):
            raise ValueError(f"{type(self).__name__} has no ID vectors of users and items of one width")
        return users, items

    # ---------------------------------------------------------------- item graphs

    def build_item_graphs(self) -> Any:
        """The constant item graphs, of the features as they are; a model that has some defines it."""
        raise NotImplementedError

    def item_graph(self, modality: str, k: int, weighting: str) -> SparseOperator:
        """The modality's kNN item graph (see :func:`knn_graph`), from disk where the same one was built before.

        Items without features keep themselves alone: rows made up for them are alike, and would join them all. Called
        while the model is built, when the features are still as loaded, and where PTMRec asks for graphs of the
        features as they are. Raises ValueError where k, the key `knn_k`, is out of range.
        """
        if not 1 <= k < self.n_items:
            raise ValueError(f"knn_k: {k} must be from 1 to {self.n_items - 1}, the number of items")
        feature = self.without_missing(modality, self.feature(modality).detach())

        def build() -> dict[str, np.ndarray]:
            csr = knn_graph(feature, k, weighting).to_scipy()
            return {"indptr": csr.indptr, "indices": csr.indices, "values": csr.data}

        parameters = {"k": k, "weighting": weighting}
        arrays = self.graph_cache.arrays("item-graph", [feature.cpu().numpy()], parameters, build)
        shape = (self.n_items, self.n_items)
        graph = SparseOperator(arrays["indptr"], arrays["indices"], arrays["values"], shape)
        remedy = "set more knn_k, of which an item takes one"
        tell_of_no_edges(joins_nothing(graph), f"the item graph of {modality}", remedy)
        return graph

    def without_missing(self, modality: str, table: Tensor) -> Tensor:
        """``[n_items, width]`` with zeros for the items without features, which makes them nobody's neighbours."""
        missing = self.missing[modality]
        return table.masked_fill(missing.unsqueeze(1).to(table.device), 0) if missing.any() else table

    def weighted_item_graph(
        self, k: int, weights: Sequence[float] | Mapping[str, float] | None, visual: float
    ) -> SparseOperator:
        """``S = sum_m a_m S^m`` of the modalities' graphs of k neighbours, each neighbour 1/k.

        Args:
            k: as of :meth:`item_graph`.
            weights: the key `modality_weights`.
            visual: the paper's weight of ``visual``, where they are not set.
        """
        chosen = modality_weights(weights, self.modalities, visual)
        return combine([self.item_graph(name, k, "binary") for name in self.modalities], chosen)


def no_features(model: str, config: Config) -> str:
    """The one line for a model that needs features where a run has none."""
    if config["modalities"] == []:
        return f"{model} needs modality features, and modalities: [] leaves out all; name some, or leave the key out"
    name = config["dataset"]
    return (
        f"{model} needs modality features, and data set '{name}' has none: put a file such as {name}.visual beside its "
        ".inter (python -m recbole_mm convert --help)"
    )
