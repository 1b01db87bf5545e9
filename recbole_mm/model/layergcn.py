"""LayerGCN: layer-refined graph convolution on user and item IDs (ICDE 2023)."""

from __future__ import annotations

import torch
from torch import Tensor

from recbole_mm.graph import EdgeSampler
from recbole_mm.model.base import MultimodalRecommender, gather
from recbole_mm.nn.loss import bpr_loss, half_squared_sum
from recbole_mm.nn.propagation import layer_gcn
from recbole_mm.nn.user_embedding import id_table
from recbole_mm.registry import register_model


@register_model(
    paper="Layer-refined graph convolutional networks for recommendation",
    year=2023,
    modalities="none: IDs only",
)
class LayerGCN(MultimodalRecommender):
    r"""``X_l = \cos(Z_l, X_0) Z_l`` with ``Z_l = G X_{l-1}``; the vectors are the sum of the layers 1 to L.

    Edges are dropped anew each epoch, by degree and uniformly in turn. Loss: BPR and half the squared norm of the
    batch's ID rows, both summed over the batch.
    """

    needs_modalities = False
    loss_reduction = "sum"

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.check_at_least(config, 1, "n_layers")
        self.n_layers: int = config["n_layers"]
        self.include_layer_0: bool = config["include_layer_0"]
        self.reg_weight: float = config["reg_weight"]
        self.user_embedding = id_table(self.n_users, self.embedding_size)
        self.item_embedding = id_table(self.n_items, self.embedding_size)
        self.edge_sampler = EdgeSampler(self.graph, config["edge_dropout"], config["edge_dropout_mode"], config["seed"])
        self.full_graph = self.graph.symmetric()
        self.training_graph = self.full_graph

    def before_epoch(self, epoch: int) -> None:
        """Draw the epoch's edges."""
        self.training_graph = self.edge_sampler.sample(epoch)

    def encode(self) -> tuple[Tensor, Tensor]:
        """Users ``[n_users, d]`` and items ``[n_items, d]``."""
        users, items = self._propagate().split([self.n_users, self.n_items])
        return users, items

    def _propagate(self, rows: Tensor | None = None) -> Tensor:
        """Vectors of the nodes `rows`, or of all, users and then items: ``[n, d]``."""
        graph = self.training_graph if self.training else self.full_graph
        nodes = torch.cat([self.user_embedding, self.item_embedding])
        return layer_gcn(graph, nodes, self.n_layers, include_layer_0=self.include_layer_0, rows=rows)

    def calculate_loss(self, interaction) -> Tensor:
        """BPR and the regulariser of the ID rows, summed over the batch."""
        users, positives, negatives = self.batch(interaction)
        nodes = torch.cat([users, positives + self.n_users, negatives + self.n_users])
        user, positive, negative = self._propagate(nodes).chunk(3)
        loss = bpr_loss((user * (positive - negative)).sum(dim=-1), reduction=self.loss_reduction)
        rows = gather(self.user_embedding, users) + gather(self.item_embedding, positives, negatives)
        return loss + self.reg_weight * half_squared_sum(*rows)
