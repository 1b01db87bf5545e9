"""Features that training generates for the items that lack them, and item graphs that follow (DGMRec, SIGIR 2025)."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from recbole.config import Config
from torch import Tensor, nn

from recbole_mm.data.dataset import MultimodalDataset
from recbole_mm.graph import SparseOperator, joins_nothing, knn_graph, masked_knn_graph, tell_of_no_edges
from recbole_mm.graph.operator import square
from recbole_mm.model.base import MultimodalRecommender
from recbole_mm.model.dgmrec_settings import DGMRecSettings
from recbole_mm.model.own_optimizers import OwnOptimizers
from recbole_mm.nn.club import Club
from recbole_mm.nn.perturbation import perturb
from recbole_mm.nn.propagation import light_gcn


class GeneratedFeatures(OwnOptimizers, MultimodalRecommender):
    """The part of DGMRec that knows which features are missing, and generates them before each epoch.

    Attributes:
        missing: by modality, which items lack it, bool ``[n_items]``.
        has_missing: whether any item lacks any.
    """

    settings: DGMRecSettings
    other_parameter_name = [*MultimodalRecommender.other_parameter_name, "own_optimizer_states", "rebuilt_graphs"]

    def __init__(self, config: Config, dataset: MultimodalDataset):
        super().__init__(config, dataset)
        settings = self.settings
        if settings.knn_k >= self.n_items:
            raise ValueError(f"knn_k: {settings.knn_k} must be from 1 to {self.n_items - 1}, the number of items")
        self.seed: int = config["seed"]
        for name, lacking in self.missing.items():
            if lacking.any() and not self.feature(name).requires_grad:
                self.features.replace(name, self.feature(name).clone())
        self.has_missing = any(lacking.any() for lacking in self.missing.values())
        self._first_graphs = [self._first_graph(name) for name in self.modalities]
        self._rebuilt: dict[str, SparseOperator] = {}

    def _first_graph(self, name: str) -> SparseOperator:
        """The kNN graph of the features as loaded, from disk where it was built before."""
        feature, missing = self.feature(name).detach(), self.missing[name]

        def build() -> dict[str, np.ndarray]:
            csr = masked_knn_graph(feature, self.settings.knn_k, missing).to_scipy()
            return {"indptr": csr.indptr, "indices": csr.indices, "values": csr.data}

        inputs = [feature.cpu().numpy(), missing.numpy()]
        graph = self.graph_cache.get(
            "masked-item-graph", inputs, {"k": self.settings.knn_k}, build, square(self.n_items)
        )
        remedy = "set more knn_k, of which an item takes one"
        tell_of_no_edges(joins_nothing(graph), f"the item graph of {name}", remedy)
        return graph

    @property
    def item_graphs(self) -> list[SparseOperator]:
        """Of each modality as it is now, ``[n_items, n_items]``."""
        graphs = zip(self.modalities, self._first_graphs, strict=True)
        return [self._rebuilt.get(name, first) for name, first in graphs]

    def make_generators(self) -> None:
        """Make generators, translators and bounds; after the encoders."""
        size, names = self.embedding_size, self.modalities
        self.generators = nn.ModuleList(_two_layers(size, size) for _ in names)
        widths = _translator_widths(len(names), size)
        self.translators = nn.ModuleList(nn.ModuleList(_two_layers(width, size) for width in widths) for _ in names)
        self.clubs = nn.ModuleDict({name: Club(size) for name in names[:2]})
        for name, club in self.clubs.items():
            self.keep_optimizer(name, club, torch.optim.Adam(club.parameters(), lr=self.settings.club_learning_rate))

    def raw_content(self) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """General and specific content and filters of each modality, ``[n_items, d]`` each."""
        raise NotImplementedError

    def decode(self, number: int, content: Tensor) -> Tensor:
        """Features ``[n, width]`` of a modality from general and specific content side by side, ``[n, 2 d]``."""
        raise NotImplementedError

    def translate(self, number: int, others: list[Tensor]) -> Tensor:
        """General content ``[n, d]`` of a modality from that of the others in cyclic order, those after it first."""
        translators: Any = self.translators[number]
        if len(translators) < len(others):
            return translators[0](torch.cat(others, dim=1))
        return sum(layer(other) for layer, other in zip(translators, others, strict=True)) / len(others)

    def others(self, number: int) -> list[int]:
        """Numbers of the other modalities, cyclically from the next one on."""
        return [(number + step) % len(self.modalities) for step in range(1, len(self.modalities))]

    # ---------------------------------------------------------------- before an epoch

    def before_epoch(self, epoch: int) -> None:
        """Train the bounds, generate what is missing, and every few epochs renew the graphs."""
        generator = torch.Generator().manual_seed(int(np.random.SeedSequence((self.seed, epoch)).generate_state(1)[0]))
        if self.settings.club_weight:
            n_items = min(self.settings.club_items, self.n_items - 1)
            drawn = (torch.randperm(self.n_items - 1, generator=generator) for _ in range(self.settings.club_steps))
            self.train_clubs([1 + items[:n_items] for items in drawn])
        if self.has_missing:
            width = 2 * self.embedding_size
            noise = [torch.rand(self.n_items, width, generator=generator) for _ in self.modalities]
            self.generate([tensor.to(self.item_embedding) for tensor in noise])
            if (epoch + 1) % self.settings.rebuild_epochs == 0:
                self.rebuild()

    def train_clubs(self, drawn: list[Tensor]) -> None:
        """Steps of each bound on the content as it is, each of some item ids."""
        with torch.no_grad():
            general, specific, _ = self.raw_content()
        for batch in drawn:
            items = batch.to(self.item_embedding.device)
            for number, (name, club) in enumerate(self.clubs.items()):
                assert isinstance(club, Club)
                with self.training_part(club), torch.enable_grad():
                    loss = club.likelihood_loss(specific[number][items], general[number][items])
                    loss.backward()
                    self.own_optimizers[name].step()
                self.record(**{f"L_club_{name}": loss})

    @torch.no_grad()
    def generate(self, noise: list[Tensor]) -> None:
        """Write features of each modality for the items that lack it alone, all from the features before.

        Args:
            noise: of each modality, ``[n_items, 2 d]`` in [0, 1).
        """
        general, _, filters = self.raw_content()
        n_missing = sum(self.missing.values())
        written = []
        for number, name in enumerate(self.modalities):
            items = (self.missing[name] & (n_missing == 1)).nonzero().flatten().to(general[0].device)
            if len(self.modalities) == 1 or not len(items):
                continue
            translated = self.translate(number, [general[other] for other in self.others(number)])
            content = torch.cat([translated, self.generators[number](filters[number])], dim=1)
            content = light_gcn(self.item_graphs[number], content, self.settings.n_item_layers, "last")[items]
            written.append((name, items, self.decode(number, perturb(content, noise[number][items]))))
        for name, items, rows in written:
            self.feature(name).data[items] = rows

    @torch.no_grad()
    def rebuild(self) -> None:
        """Blend the rows of items without a modality with those of a graph of the features as they are."""
        renewed = {}
        for graph, (name, missing) in zip(self.item_graphs, self.missing.items(), strict=True):
            if not missing.any():
                continue
            new = knn_graph(self.feature(name), self.settings.knn_k, "similarity").to_scipy()
            old, share = graph.to_scipy(), missing.double().numpy()
            blended = self.settings.rebuilt_share * new + (1 - self.settings.rebuilt_share) * old
            renewed[name] = SparseOperator.from_scipy(sp.diags(share) @ blended + sp.diags(1 - share) @ old)
        self._rebuilt = renewed

    @property
    def rebuilt_graphs(self) -> dict[str, dict[str, Tensor]]:
        """Row starts, columns and values of the graphs that were renewed, by modality."""
        matrices = {name: graph.to_scipy() for name, graph in self._rebuilt.items()}
        return {
            name: {"indptr": torch.from_numpy(matrix.indptr), "indices": torch.from_numpy(matrix.indices),
                   "values": torch.from_numpy(matrix.data)}
            for name, matrix in matrices.items()
        }  # fmt: skip

    @rebuilt_graphs.setter
    def rebuilt_graphs(self, graphs: dict[str, dict[str, Tensor]]) -> None:
        shape = (self.n_items, self.n_items)
        self._rebuilt = {}
        for name, graph in graphs.items():
            indptr, indices, values = (graph[part].cpu().numpy() for part in ("indptr", "indices", "values"))
            self._rebuilt[name] = SparseOperator(indptr, indices, values, shape)


def _two_layers(width: int, size: int) -> nn.Sequential:
    """Linear, tanh, Linear; weights Xavier uniform."""
    first, second = nn.Linear(width, size), nn.Linear(size, size)
    for layer in (first, second):
        nn.init.xavier_uniform_(layer.weight)
    return nn.Sequential(first, nn.Tanh(), second)


def _translator_widths(n_modalities: int, size: int) -> list[int]:
    """Inputs of each modality's translators: up to three modalities share one, more have one per other modality."""
    if n_modalities <= 3:
        return [size * (n_modalities - 1)] * (n_modalities > 1)
    return [size] * (n_modalities - 1)
