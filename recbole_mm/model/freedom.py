"""FREEDOM: freezing and denoising graph structures for multimodal recommendation (ACM MM 2023)."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import torch
from recbole.config import Config
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_mm.data.dataset import MultimodalDataset
from recbole_mm.graph import EdgeSampler, SparseOperator
from recbole_mm.model.base import MultimodalRecommender
from recbole_mm.model.projections import ModalityProjections
from recbole_mm.model.settings import ModelSettings
from recbole_mm.nn.distinct import at_distinct
from recbole_mm.nn.gather import gather
from recbole_mm.nn.loss import bpr_loss
from recbole_mm.nn.propagation import light_gcn
from recbole_mm.nn.user_embedding import id_table
from recbole_mm.registry import register_model
from recbole_mm.settings import Count, Layers, Rate, Weight, Weights


class FREEDOMSettings(ModelSettings):
    """FREEDOM (ACM MM 2023), as in its authors' public code. modality_loss_weight: middle of the grid."""

    n_layers: Layers = 2
    """Layers over the user-item graph."""
    n_item_layers: Layers = 1
    """Layers over the item graph."""
    knn_k: Count = 10
    """Nearest items of each item, itself included."""
    modality_weights: Weights | dict[str, Weight] | None = None
    """Weights of the item graphs, such as {visual: 0.1, textual: 0.9}; that if not set, where the names say
    which is which (visual 0.1, one other 0.9), else equal.
    """
    edge_dropout: Rate = 0.8
    """Share of training edges dropped each epoch, popular ones first."""
    modality_loss_weight: Weight = 0.0001
    """Weight of BPR on the projected features of each modality."""
    trainable_features: bool = True
    """Whether a copy of the features is trained."""

    defaults: ClassVar = {"learning_rate": 0.001, "train_batch_size": 2048, "epochs": 1000}
    published: ClassVar = {"valid_metric": "Recall@20", "stopping_step": 20}
    aliases: ClassVar = {"reg_weight": "modality_loss_weight"}


@register_model(
    settings=FREEDOMSettings,
    paper="A tale of two graphs: freezing and denoising graph structures for multimodal recommendation",
    year=2023,
    needs="features, trained as copies; item graphs are built and cached",
)
class FREEDOM(MultimodalRecommender):
    r"""LightGCN on a user-item graph thinned anew each epoch, plus one frozen item graph of all modalities.

    .. math::
        [u; i] = \mathrm{mean}_{l=0..L} G^l [E_u; E_i], \quad
        h = S^{L'} E_i,\ S = \sum_m a_m S^m, \quad y_{ui} = \langle u, i + h_i \rangle

    with :math:`S^m` the mean over an item's k nearest items by the modality's features as loaded. The
    features themselves enter the loss only, projected to :math:`x^m`:

    .. math::
        L = BPR(y) + \lambda \sum_m BPR(\langle u, x^m \rangle)

    each a batch mean. The paper's ``a_v = 0.1, a_t = 0.9`` are for two modalities; any other number is
    weighted equally.
    """

    settings: FREEDOMSettings
    item_graphs_name = "fused_item_graph"

    def __init__(self, config: Config, dataset: MultimodalDataset):
        super().__init__(config, dataset)
        self.n_layers: int = self.settings.n_layers
        self.n_item_layers: int = self.settings.n_item_layers
        self.modality_loss_weight: float = self.settings.modality_loss_weight
        self.fused_item_graph = self.build_item_graphs()

        self.user_embedding = id_table(self.n_users, self.embedding_size)
        self.item_embedding = id_table(self.n_items, self.embedding_size)
        self.projections = ModalityProjections(self)
        self.edge_sampler = EdgeSampler(self.graph, self.settings.edge_dropout, "degree", config["seed"])
        self.full_graph = self.graph.symmetric()
        self.training_graph = self.full_graph

    def build_item_graphs(self) -> SparseOperator:
        """S, one graph of all modalities."""
        return self.weighted_item_graph(self.settings.knn_k, self.settings.modality_weights, visual=0.1)

    def before_epoch(self, epoch: int) -> None:
        """Draw the epoch's edges."""
        self.training_graph = self.edge_sampler.sample(epoch)

    def encode(self) -> tuple[Tensor, Tensor]:
        """Users ``[n_users, d]`` and items ``i + h``, ``[n_items, d]``."""
        users, items = self.behaviour_tables()
        similar = light_gcn(self.fused_item_graph, self.item_embedding, self.n_item_layers, readout="last")
        return users, items + similar

    def behaviour_tables(self) -> tuple[Tensor, Tensor]:
        """LightGCN's users and items, without the item graph."""
        graph = self.training_graph if self.training else self.full_graph
        nodes = light_gcn(graph, torch.cat([self.user_embedding, self.item_embedding]), self.n_layers)
        return nodes.split([self.n_users, self.n_items])

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """Mean BPR of the ratings and, weighted, of each modality's; only the batch's items are projected."""
        users, positives, negatives = self.batch(interaction)
        user_vectors, item_vectors = self.encode()
        (user,) = gather(user_vectors, users)
        terms = {"ranking": _bpr(user, *gather(item_vectors, positives, negatives))}
        for name in self.modalities if self.modality_loss_weight else []:
            rows = at_distinct(partial(self.projections.project, name), positives, negatives)
            terms[f"modality_{name}"] = self.modality_loss_weight * _bpr(user, *rows)
        return self.sum_of_terms(**terms)


def _bpr(user: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    """Mean BPR of ``[batch, d]`` vectors."""
    return bpr_loss((user * (positive - negative)).sum(dim=-1))
