"""BUIR: bootstrapping user and item representations for one-class collaborative filtering (SIGIR 2021)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from recbole.config import Config
from recbole.data.interaction import Interaction
from torch import Tensor, nn

from recbole_mm.data.dataset import MultimodalDataset
from recbole_mm.graph import BipartiteGraph, SparseOperator
from recbole_mm.model.graphs import GraphRecommender
from recbole_mm.model.settings import ModelSettings
from recbole_mm.nn.gather import gather
from recbole_mm.nn.propagation import light_gcn
from recbole_mm.nn.user_embedding import id_table
from recbole_mm.registry import register_model
from recbole_mm.settings import Layers, Share, Width


class BUIRSettings(ModelSettings):
    """BUIR-NB (SIGIR 2021) with LightGCN encoders: its authors' settings; the batch is this field's."""

    embedding_size: Width = 250
    """Width d of user and item vectors."""
    n_layers: Layers = 3
    """Layers over the user-item graph."""
    momentum: Share = 0.995
    """tau, how much of itself the target encoder keeps at each step."""
    edge_dropout: Share = 0.0
    """Upper bound of the random share of edges dropped at each pass; authors use <= 0.2."""

    defaults: ClassVar = {
        "learning_rate": 0.001, "train_batch_size": 2048, "epochs": 1000, "weight_decay": 0.0001,
        "train_neg_sample_args": None,
    }
    published: ClassVar = {"valid_metric": "Recall@20", "stopping_step": 20}


@register_model(
    settings=BUIRSettings,
    paper="Bootstrapping user and item representations for one-class collaborative filtering",
    year=2021,
    modalities="none: IDs only",
    needs="interactions only; no negative items",
)
class BUIR(GraphRecommender):
    r"""Two LightGCN encoders, of which the online one learns to predict the target one; no negative items.

    .. math::
        L = \mathrm{mean}\,[2 - 2\cos(q(u_{on}), i_{tg})] + \mathrm{mean}\,[2 - 2\cos(q(i_{on}), u_{tg})]

    .. math::
        y_{ui} = \langle q(u), i \rangle + \langle u, q(i) \rangle

    with one linear predictor q, the online encoder in the score, and after each optimiser step
    :math:`\theta_{tg} \leftarrow \tau \theta_{tg} + (1 - \tau) \theta_{on}`. This is BUIR-NB, the variant
    with neighbours. ``edge_dropout: r`` drops, at each training pass of an encoder, a share of the edges that
    is drawn uniformly below r, and rescales the others.

    The target moves at the start of the next loss, if that finds the last batch's users changed: no trainer
    needs to know of it, and a checkpoint, whose last move is still due, goes on to the same numbers.
    """

    settings: BUIRSettings
    last_users: Tensor | None
    last_rows: Tensor | None


    def __init__(self, config: Config, dataset: MultimodalDataset):
        super().__init__(config, dataset)
        self.n_layers: int = self.settings.n_layers
        self.momentum: float = self.settings.momentum
        self.user_embedding = id_table(self.n_users, self.embedding_size)
        self.item_embedding = id_table(self.n_items, self.embedding_size)
        self.register_buffer("target_user_embedding", self.user_embedding.detach().clone())
        self.register_buffer("target_item_embedding", self.item_embedding.detach().clone())
        self.predictor = nn.Linear(self.embedding_size, self.embedding_size)
        self.full_graph = self.graph.symmetric()
        self.edge_dropout = EdgeDropout(self.graph, self.full_graph, self.settings.edge_dropout)
        self.register_buffer("last_users", None, persistent=False)
        self.register_buffer("last_rows", None, persistent=False)

    def encode(self) -> tuple[Tensor, Tensor]:
        """Online users ``[n_users, d]`` and items ``[n_items, d]``, before the predictor."""
        return self._propagate(self.user_embedding, self.item_embedding)

    def score_tables(self) -> tuple[Tensor, Tensor]:
        """Both terms of the score side by side, ``[n, 2d]``: ``[q(u), u]`` and ``[i, q(i)]``."""
        users, items = self.encode()
        predicted_users, predicted_items = self.predictor(users), self.predictor(items)
        return torch.cat([predicted_users, users], dim=1), torch.cat([items, predicted_items], dim=1)

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """Bootstrap loss of the batch's pairs, both ways."""
        users, items = interaction[self.USER_ID], interaction[self.ITEM_ID]
        self._move_target(users)
        online_users, online_items = self.encode()
        with torch.no_grad():
            targets = self._propagate(self.target_user_embedding, self.target_item_embedding)
            target_user, target_item = targets[0][users], targets[1][items]
        predicted_user = self.predictor(*gather(online_users, users))
        predicted_item = self.predictor(*gather(online_items, items))
        return self.sum_of_terms(
            user_bootstrap=_distance(predicted_user, target_item), item_bootstrap=_distance(predicted_item, target_user)
        )

    def _propagate(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        graph = self.edge_dropout.sample() if self.training else self.full_graph
        nodes = light_gcn(graph, torch.cat([users, items]), self.n_layers)
        users, items = nodes.split([self.n_users, self.n_items])
        return users, items

    @torch.no_grad()
    def _move_target(self, users: Tensor) -> None:
        """The momentum update, if an optimiser step since the last loss changed that loss's users.

        Their values tell it, since torch's version counters miss what a fused optimizer does; and the host
        need not wait for them. Before the first step the tables are equal and the update changes nothing.

        Args:
            users: ids of this loss's users, ``[batch]``.
        """
        share = self.user_embedding.new_full((), 1 - self.momentum)
        if self.last_users is not None and self.last_rows is not None:
            share *= (F.embedding(self.last_users, self.user_embedding) != self.last_rows).any()
        self.target_user_embedding.lerp_(self.user_embedding, share)
        self.target_item_embedding.lerp_(self.item_embedding, share)
        self.last_users, self.last_rows = users, F.embedding(users, self.user_embedding)


class EdgeDropout:
    """Drops a random share of the edges at each pass and rescales the kept values by 1 / (1 - share).

    An edge goes in both directions or not at all; degrees stay those of the full graph. Draws from torch's
    generator.

    Args:
        graph: the training interactions.
        operator: their symmetric operator ``[n_nodes, n_nodes]``.
        ratio: upper bound of the share, which is uniform in ``[0, ratio)``; 0 keeps all edges.

    Raises:
        ValueError: a ratio outside ``[0, 1]``.
    """

    def __init__(self, graph: BipartiteGraph, operator: SparseOperator, ratio: float) -> None:
        if not 0 <= ratio <= 1:
            raise ValueError(f"edge_dropout: {ratio} must be from 0 to 1")
        self.operator, self.ratio = operator, ratio
        # The operator's entries: all edges by user and item, then their mirror images by item and user.
        self._n_edges = graph.n_edges
        mirror_images = np.argsort(graph.items, kind="stable")
        self._edge_of_entry = np.concatenate((np.arange(graph.n_edges), mirror_images))

    def sample(self) -> SparseOperator:
        """The operator of one pass."""
        if self.ratio == 0:
            return self.operator
        share = self.ratio * torch.rand(1).item()
        kept = (torch.rand(self._n_edges) >= share).numpy()
        full = self.operator.to_scipy()
        values = full.data * kept[self._edge_of_entry] / (1 - share)
        return SparseOperator(full.indptr, full.indices, values, full.shape, symmetric=True)


def _distance(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean of ``2 - 2 cos`` of matching rows ``[batch, d]``."""
    return 2 - 2 * F.cosine_similarity(predicted, target).mean()
