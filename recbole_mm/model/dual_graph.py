"""What DualGNN and DRAGON are made of: content propagated per modality, users who listen to similar users."""

from __future__ import annotations

import numpy as np
import torch
from recbole.config import Config
from torch import Tensor, nn

from recbole_mm.data.dataset import MultimodalDataset
from recbole_mm.graph import (
    SparseOperator,
    UserGraphSampler,
    UserNeighbors,
    cooccurrence_neighbors,
    tell_of_no_edges,
)
from recbole_mm.model.late_fusion import LateFusionRecommender
from recbole_mm.model.projections import ModalityProjections
from recbole_mm.nn.dual_graph import two_layer_projection
from recbole_mm.nn.gather import gather
from recbole_mm.nn.user_embedding import id_table


class DualGraphRecommender(LateFusionRecommender):
    """A late-fusion recommender whose items are known by their content alone, with a user-user graph.

    An adapter that reads ID vectors of items gets a table of them, ``behaviour_embedding``, unless the model has one
    of its own (:attr:`has_item_ids`), the ``item_embedding``.
    """

    loss_base = 2
    has_item_ids = False
    rates_ids = False  # whether the item ID is one more modality, before the others

    def __init__(self, config: Config, dataset: MultimodalDataset):
        super().__init__(config, dataset)
        if self.rates_ids:
            self.rated_modalities = ["id", *self.modalities]
        if self.has_item_ids:
            self.item_embedding = id_table(self.n_items, self.embedding_size, nn.init.xavier_normal_)
        elif self.adapters.need_behaviour:
            self.behaviour_embedding = id_table(self.n_items, self.embedding_size)
        self.user_embedding = self.user_tables(nn.init.xavier_normal_)
        size = self.embedding_size
        self.projections = ModalityProjections(
            self, (two_layer_projection(width, size) for width in self.features.widths)
        )

    @torch.no_grad()
    def diagnostics(self) -> dict[str, float]:
        """As of late fusion; users' mean weight of each modality and how far users differ, where they have weights."""
        weights: Tensor | None = getattr(self, "user_fusion", None)
        if weights is None:
            return super().diagnostics()
        names = [*(f"user_weight_{name}" for name in self.modalities), "user_weights_sd"]
        values = torch.cat([weights[1:].mean(dim=0), weights[1:].std(dim=0).mean().view(1)])
        return super().diagnostics() | dict(zip(names, values.tolist(), strict=True))

    @property
    def behaviour_vectors(self) -> Tensor | None:
        """The model's item IDs, or the table made for an adapter that reads one."""
        return self.item_embedding if self.has_item_ids else getattr(self, "behaviour_embedding", None)

    def user_graphs(self, width: int, seed: int, limit: int = 200) -> UserGraphSampler:
        """The user-user graphs of the epochs, `width` neighbours a user.

        Each user's most co-occurring users come from disk where the same interactions were counted before.
        """
        limit = max(limit, width)
        parameters = {"n_users": self.n_users, "n_items": self.n_items, "limit": limit}
        inputs = [self.graph.users, self.graph.items]

        def make(arrays: dict[str, np.ndarray]) -> UserNeighbors:
            return UserNeighbors.checked(**arrays, n_users=self.n_users)

        neighbors = self.graph_cache.get(
            "user-neighbors", inputs, parameters, lambda: cooccurrence_neighbors(self.graph, limit)._asdict(), make
        )
        no_edges = not len(neighbors.users)
        tell_of_no_edges(no_edges, "the graph of users who have items together", "it takes more interactions")
        return UserGraphSampler(neighbors, width, seed)

    @property
    def user_graph(self) -> SparseOperator:
        """The user-user graph of the current epoch; that of its own epoch after a checkpoint is loaded."""
        return self.user_graph_sampler.sample(max(self.epochs_started - 1, 0))


class ListeningRecommender(DualGraphRecommender):
    """One whose users, with the modalities' vectors side by side, add up those of similar users.

    A model gives :meth:`propagate`.
    """

    def propagate(self) -> tuple[Tensor, Tensor]:
        """Users ``[n_users, M * d]`` before the user-user graph, and final items ``[n_items, M * d]``."""
        raise NotImplementedError

    def encode(self) -> tuple[Tensor, Tensor]:
        """Users ``U_u^m [n_users, M, d]`` and items ``V_i^m [n_items, M, d]``."""
        users, items = self.propagate()
        users = users + self.user_graph @ users
        return self._by_modality(users), self._by_modality(items)

    def batch_vectors(
        self, users: Tensor, positives: Tensor, negatives: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The rows of :meth:`encode` of a batch; the user-user graph is applied at these users only."""
        user_vectors, item_vectors = self.propagate()
        (user,) = gather(user_vectors, users)
        user = user + self.user_graph.product_rows(user_vectors, users)
        positive, negative = gather(item_vectors, positives, negatives)
        return self._by_modality(user), self._by_modality(positive), self._by_modality(negative)

    def _by_modality(self, rows: Tensor) -> Tensor:
        return rows.view(-1, len(self.rated_modalities), self.embedding_size)
