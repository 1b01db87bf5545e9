"""LayerGCN: layer-refined graph convolution on user and item IDs (ICDE 2023)."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from recbole.config import Config
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_mm.data.dataset import MultimodalDataset
from recbole_mm.graph import EdgeSampler
from recbole_mm.model.graphs import GraphRecommender
from recbole_mm.model.settings import ModelSettings
from recbole_mm.nn.gather import gather
from recbole_mm.nn.loss import bpr_loss, half_squared_sum
from recbole_mm.nn.propagation import layer_gcn
from recbole_mm.nn.user_embedding import id_table
from recbole_mm.registry import register_model
from recbole_mm.setting_conditions import acts_where
from recbole_mm.settings import Layers, Rate, Weight


class LayerGCNSettings(ModelSettings):
    """LayerGCN (ICDE 2023), as in its authors' public code."""

    n_layers: Layers = 4
    """Layers L."""
    include_layer_0: bool = False
    """Whether the readout adds layer 0."""
    reg_weight: Weight = 0.001
    """Weight of half the squared norm of the batch's ID rows."""
    edge_dropout: Rate = 0.1
    """Share of training edges dropped each epoch."""
    edge_dropout_mode: Annotated[Literal["degree", "uniform", "alternate"], acts_where("edge_dropout")] = "alternate"
    """Which edges."""

    defaults: ClassVar = {"learning_rate": 0.001, "train_batch_size": 2048, "epochs": 1000}
    published: ClassVar = {"valid_metric": "Recall@20", "stopping_step": 20}


@register_model(
    settings=LayerGCNSettings,
    paper="Layer-refined graph convolutional networks for recommendation",
    year=2023,
    modalities="none: IDs only",
    needs="interactions only",
)
class LayerGCN(GraphRecommender):
    r"""``X_l = \cos(Z_l, X_0) Z_l`` with ``Z_l = G X_{l-1}``; the vectors are the sum of the layers 1 to L.

    Edges are dropped anew each epoch, by degree and uniformly in turn. Loss: BPR and half the squared norm of the
    batch's ID rows, both summed over the batch.
    """

    settings: LayerGCNSettings

    loss_reduction = "sum"

    def __init__(self, config: Config, dataset: MultimodalDataset):
        super().__init__(config, dataset)
        self.n_layers: int = self.settings.n_layers
        self.include_layer_0: bool = self.settings.include_layer_0
        self.reg_weight: float = self.settings.reg_weight
        self.user_embedding = id_table(self.n_users, self.embedding_size)
        self.item_embedding = id_table(self.n_items, self.embedding_size)
        self.edge_sampler = EdgeSampler(
            self.graph, self.settings.edge_dropout, self.settings.edge_dropout_mode, config["seed"]
        )
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

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """BPR and the regulariser of the ID rows, summed over the batch."""
        users, positives, negatives = self.batch(interaction)
        nodes = torch.cat([users, positives + self.n_users, negatives + self.n_users])
        user, positive, negative = self._propagate(nodes).chunk(3)
        ranking = bpr_loss((user * (positive - negative)).sum(dim=-1), reduction=self.loss_reduction)
        rows = gather(self.user_embedding, users) + gather(self.item_embedding, positives, negatives)
        return self.sum_of_terms(ranking=ranking, regularisation=self.reg_weight * half_squared_sum(*rows))
