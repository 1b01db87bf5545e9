"""The base class of recommenders on the graph of the training interactions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recbole.config import Config

from recbole_mm.data.dataset import MultimodalDataset
from recbole_mm.graph import BipartiteGraph, GraphCache
from recbole_mm.model.recommender import Recommender


class GraphRecommender(Recommender):
    """A recommender that reads the training interactions, and by itself nothing else (LayerGCN, BUIR).

    Attributes:
        graph: bipartite graph of the training interactions.
        graph_cache: graphs kept on disk.
    """

    def __init__(self, config: Config, dataset: MultimodalDataset):
        super().__init__(config, dataset)
        users, items = dataset.inter_feat[self.USER_ID], dataset.inter_feat[self.ITEM_ID]
        self.graph = BipartiteGraph(users, items, self.n_users, self.n_items)
        self.graph_cache = GraphCache(self.settings.graph_dir or Path(config["checkpoint_dir"]) / "graphs")

    def constants(self) -> Iterator[Any]:
        """The graph too."""
        yield self.graph
        yield from super().constants()
