"""User-item graphs of modalities that training renews from what it finds similar (MMSSL, WWW 2023)."""

from __future__ import annotations

import math

import torch
from recbole.config import Config
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_mm.data.dataset import MultimodalDataset
from recbole_mm.graph import BipartiteGraph, SparseOperator
from recbole_mm.model.base import MultimodalRecommender
from recbole_mm.model.mmssl_settings import MMSSLSettings
from recbole_mm.model.own_optimizers import OwnOptimizers


class RenewedGraphs(OwnOptimizers, MultimodalRecommender):
    """The part of MMSSL that renews its modalities' graphs.

    Attributes:
        modality_graphs: of each modality, that of users ``[n_users, n_items]`` and of items ``[n_items, n_users]``.
        similar_items: of each modality, ``[batch, n_similar]`` ids that the last loss found most similar to its users.
    """

    settings: MMSSLSettings
    other_parameter_name = [*MultimodalRecommender.other_parameter_name, "own_optimizer_states", "modality_edges"]

    def __init__(self, config: Config, dataset: MultimodalDataset):
        super().__init__(config, dataset)
        self.modality_graphs: list[tuple[SparseOperator, SparseOperator]] = []
        self.similar_items: list[Tensor] = []
        self._collected: dict[str, list[Tensor]] = {}
        self._is_first_step = True

    @property
    def modality_edges(self) -> dict[str, Tensor]:
        """Users and items ``[2, n_edges]`` of each modality's graph; none of a modality that has the training's."""
        return self._modality_edges

    @modality_edges.setter
    def modality_edges(self, edges: dict[str, Tensor]) -> None:
        self._modality_edges = dict(edges)
        self.modality_graphs = []
        for name in self.modalities:
            graph = self.graph
            if name in edges:
                users, items = edges[name].cpu().numpy()
                graph = BipartiteGraph(users, items, self.n_users, self.n_items)
            self.modality_graphs.append((graph.user_root_block(), graph.item_root_block()))

    def diagnostics(self) -> dict[str, float]:
        """Pairs in each modality's graph, of which there are none as released on small catalogues."""
        graphs = zip(self.modalities, self.modality_graphs, strict=True)
        return super().diagnostics() | {f"edges_{name}": float(of_users.nnz) for name, (of_users, _) in graphs}

    @property
    def n_similar(self) -> int:
        """Items per user in a renewed graph."""
        share = self.settings.refreshed_share * (self.n_items - 1)
        return int(share) if self.settings.graph_refresh == "code" else max(1, math.ceil(share))

    def before_epoch(self, epoch: int) -> None:
        """Begin to collect similar pairs anew."""
        self._is_first_step = True
        self._collected = {name: [] for name in self.modalities}

    def after_step(self, batch: Interaction) -> None:
        """Collect the pairs that the last loss, of `batch`, found similar, or have graphs of those collected."""
        by_code = self.settings.graph_refresh == "code"
        if self._is_first_step or not by_code:
            for name, items in zip(self.modalities, self.similar_items, strict=True):
                self._collected[name].append(_pairs(batch[self.USER_ID], items, misplaced=by_code))
        else:
            self._renew()
        self._is_first_step = False

    def after_epoch(self) -> None:
        """Have graphs of all that the epoch collected, as described; the public code has had its own."""
        if self.settings.graph_refresh == "epoch":
            self._renew()

    def _renew(self) -> None:
        empty = torch.zeros(2, 0, dtype=torch.long)
        self.modality_edges = {name: torch.cat([empty, *parts], dim=1) for name, parts in self._collected.items()}
        self._collected = {name: [] for name in self.modalities}


def _pairs(users: Tensor, items: Tensor, misplaced: bool) -> Tensor:
    """User and item ``[2, n * k]`` of items ``[n, k]`` of users ``[n]``.

    Args:
        misplaced: as the public code has it, all users repeated k times beside the items row by row.
    """
    k = items.shape[1]
    repeated = users.repeat(k) if misplaced else users.repeat_interleave(k)
    return torch.stack([repeated, items.flatten()]).cpu()
