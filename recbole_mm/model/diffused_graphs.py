"""User-item graphs that a diffusion model per modality rebuilds at the start of each epoch (DiffMM, ACM MM 2024)."""

from __future__ import annotations

import numpy as np
import torch
from recbole.config import Config
from torch import Tensor, nn

from recbole_mm.data.dataset import MultimodalDataset
from recbole_mm.graph import BipartiteGraph, SparseOperator, joins_nothing, tell_of_no_edges
from recbole_mm.model.base import MultimodalRecommender
from recbole_mm.model.diffmm_settings import DiffMMSettings
from recbole_mm.model.own_optimizers import OwnOptimizers
from recbole_mm.model.projections import ModalityProjections
from recbole_mm.nn.diffusion import Denoiser, Draw, denoise, draw, noised, reconstruction_losses, schedule


class DiffusedGraphs(OwnOptimizers, MultimodalRecommender):
    """The part of DiffMM that trains denoisers of users' rows, and rebuilds graphs by them.

    Attributes:
        denoisers: of each modality.
        rebuilt_items: ``[n_modalities, n_users, rebuilt_k]``, each user's items in each rebuilt graph; 0, which is no
            item, before there is one.
        schedule: of the noise.
    """

    settings: DiffMMSettings
    projections: ModalityProjections
    item_embedding: nn.Parameter
    other_parameter_name = [*MultimodalRecommender.other_parameter_name, "own_optimizer_states"]

    def __init__(self, config: Config, dataset: MultimodalDataset):
        super().__init__(config, dataset)
        self.seed: int = config["seed"]

    def make_denoisers(self, settings: DiffMMSettings) -> None:
        """Make all that rebuilds graphs; after the projections and tables, which have the first initial values."""
        self.interactions = self.graph.raw_block()
        self.schedule = schedule(
            settings.diffusion_steps, settings.noise_scale, settings.noise_min, settings.noise_max
        )
        self.denoisers = nn.ModuleList(
            Denoiser(self.n_items - 1, settings.denoiser_width, settings.time_width, settings.denoiser_normalise)
            for _ in self.modalities
        )
        for name, denoiser in zip(self.modalities, self.denoisers, strict=True):
            adam = torch.optim.Adam(denoiser.parameters(), lr=settings.denoiser_learning_rate)
            self.keep_optimizer(name, denoiser, adam)
        n_rebuilt = (len(self.modalities), self.n_users, settings.rebuilt_k)
        self.register_buffer("rebuilt_items", torch.zeros(n_rebuilt, dtype=torch.long))
        self._forget_graphs()
        self.register_load_state_dict_post_hook(_forget_graphs)

    def before_epoch(self, epoch: int) -> None:
        """Train the denoisers on all users once, and rebuild the graphs."""
        generator = torch.Generator().manual_seed(_seed_of(self.seed, epoch, 0))
        users = 1 + torch.randperm(self.n_users - 1, generator=generator)
        for batch in users.split(self.settings.denoiser_batch_size):
            rows = self.interaction_rows(batch)
            for name in self.modalities:
                drawn = draw(rows.shape, self.settings.diffusion_steps, generator, rows)
                self.record(**{f"L_denoiser_{name}": self.train_denoiser(name, rows, drawn)})
        self.rebuild()

    def diagnostics(self) -> dict[str, float]:
        """Of each rebuilt graph, the share of its pairs that are of training and how many different items it has."""
        known, found = self.graph.users * self.n_items + self.graph.items, super().diagnostics()
        for name, rebuilt in zip(self.modalities, self.rebuilt_items.cpu().numpy(), strict=True):
            users, items = _edges(rebuilt)
            found[f"known_{name}"] = float(np.isin(users * self.n_items + items, known).sum() / max(1, len(items)))
            found[f"rebuilt_items_{name}"] = float(len(np.unique(items)))
        return found

    def interaction_rows(self, users: Tensor) -> Tensor:
        """Rows of the training interactions, 0 or 1, without [PAD]: ``[n, n_items - 1]``."""
        return self.interactions.dense_rows(users, self.item_embedding)[:, 1:]

    def train_denoiser(self, modality: str, rows: Tensor, drawn: Draw) -> Tensor:
        """One step of a modality's denoiser; gives its loss, detached."""
        denoiser = self.denoisers[self.modalities.index(modality)]
        with self.training_part(denoiser), torch.enable_grad():
            loss = self.denoising_loss(modality, rows, drawn)
            loss.backward()
            self.own_optimizers[modality].step()
        return loss.detach()

    def denoising_loss(self, modality: str, rows: Tensor, drawn: Draw) -> Tensor:
        """Loss of a modality's denoiser, whose gradient goes to it alone.

        Args:
            modality: its name.
            rows: ``x_0 [n, n_items - 1]``.
            drawn: their steps, noise and dropout.
        """
        denoiser = self.denoisers[self.modalities.index(modality)]
        predicted = denoiser(noised(rows, drawn, self.schedule), drawn.steps, drawn.mask)
        losses = reconstruction_losses(rows, predicted, drawn.steps, self.schedule)
        if self.settings.content_weight:
            with torch.no_grad():
                content, of_items = self.projections.project(modality)[1:], rows @ self.item_embedding[1:]
            losses = losses + self.settings.content_weight * (predicted @ content - of_items).square().mean(dim=1)
        return losses.mean()

    @torch.no_grad()
    def rebuild(self) -> None:
        """Rebuild each modality's graph by its denoiser as it is."""
        for users in torch.arange(1, self.n_users).split(self.settings.denoiser_batch_size):
            rows = self.interaction_rows(users)
            for number, denoiser in enumerate(self.denoisers):
                assert isinstance(denoiser, Denoiser)
                values = denoise(denoiser, rows, self.schedule)
                self.rebuilt_items[number, users] = 1 + values.topk(self.settings.rebuilt_k, dim=1).indices
        self._forget_graphs()

    def _forget_graphs(self) -> None:
        self._whole_graphs: list[SparseOperator] | None = None
        self._training_graphs: list[SparseOperator] | None = None

    def install(self, items: Tensor, graphs: list[SparseOperator] | None = None) -> None:
        """Take rebuilt items, and what is kept of their graphs, from elsewhere, until the next :meth:`rebuild`.

        Args:
            items: as :attr:`rebuilt_items`; row 0 ([PAD]) has none, whatever it holds.
            graphs: as :attr:`training_graphs`; drawn as in training if not given.

        Raises ValueError for items of another shape or without such ids.
        """
        if items.shape != self.rebuilt_items.shape or not ((items >= 0) & (items < self.n_items)).all():
            shape = list(self.rebuilt_items.shape)
            raise ValueError(f"items: {list(items.shape)} must be ids below {self.n_items}, of shape {shape}")
        self.rebuilt_items[:, 1:] = items[:, 1:]
        self._forget_graphs()
        self._training_graphs = graphs

    @property
    def whole_graphs(self) -> list[SparseOperator]:
        """``B^m`` of each modality, ``[n_nodes, n_nodes]``; self loops alone before there is any."""
        if self._whole_graphs is None:
            self._whole_graphs = [
                BipartiteGraph(*_edges(items), self.n_users, self.n_items).symmetric_with_self()
                for items in self.rebuilt_items.cpu().numpy()
            ]
        return self._whole_graphs

    @property
    def training_graphs(self) -> list[SparseOperator]:
        """The share of ``B^m`` that this epoch trains on, its entries divided by ``keep_rate``."""
        if self._training_graphs is None:
            random = np.random.default_rng((self.seed, max(self.epochs_started - 1, 0)))
            self._training_graphs = [_dropped(graph, self.settings.keep_rate, random) for graph in self.whole_graphs]
            is_empty = any(map(joins_nothing, self._training_graphs)) and not any(map(joins_nothing, self.whole_graphs))
            share = f"the share of a rebuilt graph, by keep_rate: {self.settings.keep_rate:g}, that an epoch trains on"
            tell_of_no_edges(is_empty, share, "give more")
        return self._training_graphs

    def rebuilt_graphs(self) -> list[SparseOperator]:
        """Those in use."""
        use_share = self.training or self.settings.eval_graph == "as_trained"
        return self.training_graphs if use_share else self.whole_graphs


def _forget_graphs(model: DiffusedGraphs, _: object) -> None:
    model._forget_graphs()


def _seed_of(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def _edges(items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """User and item of each edge, of items ``[n_users, k]`` in which 0 is none."""
    users, slots = np.nonzero(items)
    return users, items[users, slots]


def _dropped(graph: SparseOperator, keep_rate: float, random: np.random.Generator) -> SparseOperator:
    """Each entry kept with this chance, and divided by it."""
    if keep_rate == 1:
        return graph
    csr = graph.to_scipy().copy()
    csr.data = csr.data * (random.random(csr.nnz) < keep_rate) / keep_rate
    csr.eliminate_zeros()
    return SparseOperator(csr.indptr, csr.indices, csr.data, csr.shape)
