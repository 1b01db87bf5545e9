"""Recommenders that read features: the tables, which items have none, and the item graphs that are built of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from recbole.config import Config
from torch import Tensor

from recbole_mm.data.dataset import MultimodalDataset
from recbole_mm.graph import SparseOperator, combine, joins_nothing, knn_graph, tell_of_no_edges
from recbole_mm.graph.operator import square
from recbole_mm.model.features import FeatureTables, no_features
from recbole_mm.model.graphs import GraphRecommender
from recbole_mm.nn.modality_weights import modality_weights


class FeatureRecommender(GraphRecommender):
    """A recommender on modality features and the graph of the training interactions.

    Features are constants, or with ``trainable_features: True`` parameters that start as the features; item graphs are
    built from the features as loaded in either case.

    Attributes:
        item_graphs_name: attribute that holds what :meth:`build_item_graphs` gave; None of a model without constant
            item graphs.
        features: the modalities' features, by name.
        missing: which items have none, by modality, bool ``[n_items]`` without [PAD]; their rows are made up.
    """

    item_graphs_name: str | None = None
    id_only_model: str | None = "LightGCN"

    def __init__(self, config: Config, dataset: MultimodalDataset):
        super().__init__(config, dataset)
        if not getattr(dataset, "modalities", None):
            raise ValueError(no_features(type(self).__name__, config))
        self.features = FeatureTables(self, dataset, self.settings.trainable_features)
        self.modalities = self.features.names
        self.missing = {name: ~dataset.modality_mask(name) for name in self.modalities}
        for missing in self.missing.values():
            missing[0] = False
        self._joins_imputed = config["missing_in_graphs"] == "imputed"

    def feature(self, modality: str) -> Tensor:
        """Features of one modality, ``[n_items, width]``; row 0 ([PAD]) is zero unless they are trained."""
        return self.features[modality]

    def build_item_graphs(self) -> Any:
        """The constant item graphs, of the features as they are; a model that has some defines it."""
        raise NotImplementedError

    def item_graph(self, modality: str, k: int, weighting: str) -> SparseOperator:
        """The modality's kNN item graph (see :func:`knn_graph`), from disk where the same one was built before.

        Items without features keep themselves alone, unless ``missing_in_graphs`` says otherwise: rows made up for
        them may be alike, and would join them all. Called
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
        inputs = [feature.cpu().numpy()]
        graph = self.graph_cache.get("item-graph", inputs, parameters, build, square(self.n_items))
        remedy = "set more knn_k, of which an item takes one"
        tell_of_no_edges(joins_nothing(graph), f"the item graph of {modality}", remedy)
        return graph

    def without_missing(self, modality: str, table: Tensor) -> Tensor:
        """``[n_items, width]`` with zeros for the items without features, which makes them nobody's neighbours.

        With ``missing_in_graphs: imputed`` the table as it is.
        """
        missing = self.missing[modality]
        if self._joins_imputed:
            return table
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
