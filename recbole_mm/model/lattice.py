"""LATTICE: mining latent structures for multimedia recommendation (ACM MM 2021)."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from recbole.config import Config
from recbole.data.interaction import Interaction
from torch import Tensor, nn

from recbole_mm.data.dataset import MultimodalDataset
from recbole_mm.graph import SparseOperator
from recbole_mm.model.base import MultimodalRecommender
from recbole_mm.model.projections import ModalityProjections
from recbole_mm.model.settings import ModelSettings
from recbole_mm.nn.gather import gather
from recbole_mm.nn.learned_graph import BlendedGraph, normalise_symmetrically, similar_items
from recbole_mm.nn.loss import bpr_loss, half_squared_per_batch
from recbole_mm.nn.normalise import l2_normalise
from recbole_mm.nn.propagation import light_gcn
from recbole_mm.nn.user_embedding import id_table
from recbole_mm.registry import register_model
from recbole_mm.settings import Count, Layers, Share, Weight


class LATTICESettings(ModelSettings):
    """LATTICE (ACM MM 2021), as in its authors' public code."""

    trainable_features: bool = True
    """Whether the features are trained, from their values as loaded."""
    n_layers: Layers = 2
    """Layers L on the user-item graph."""
    n_item_layers: Layers = 1
    """Layers L' on the item graph."""
    knn_k: Count = 10
    """Neighbours k per item in each modality's graphs, itself included."""
    raw_graph_weight: Share = 0.9
    """lambda, share of the graph of the features as loaded."""
    reg_weight: Weight = 1e-05
    """Weight of half the squares of the final rows, over the batch size."""
    stale_gradients: Literal["skip", "zero"] = "skip"
    """Features' gradient after the first batch."""

    defaults: ClassVar = {
        "learning_rate": 0.0005, "lr_decay": {"factor": 0.96, "epochs": 50}, "train_batch_size": 1024,
        "epochs": 1000,
    }
    published: ClassVar = {"valid_metric": "Recall@20", "stopping_step": 10, "eval_step": 5}


@register_model(
    settings=LATTICESettings,
    paper="Mining latent structures for multimedia recommendation",
    year=2021,
    needs="features, trained as copies; item graphs are built, cached and learned further",
)
class LATTICE(MultimodalRecommender):
    r"""LightGCN whose items also gather from similar items, in a graph learned from the projected features.

    With :math:`x^m` the projected features, :math:`f^m` those as loaded, :math:`\mathrm{knn}` the k largest
    cosines of each row (itself included), :math:`N(A) = D^{-1/2} A D^{-1/2}` by row sums, and w the softmax
    of one parameter per modality:

    .. math::
        G = (1 - \lambda)\, N\Big(\sum_m w_m\, \mathrm{knn}(x^m)\Big)
          + \lambda \sum_m w_m\, N(\mathrm{knn}(f^m)), \quad h = G^{L'} E_i

        [u; i'] = \mathrm{mean}_{l=0..L} \big((D + I)^{-1} (A + I)\big)^l [E_u; E_i], \quad i = i' + h / \|h\|

    Loss: mean BPR and half the squared norm of the batch's final rows over the batch size.

    G is built with its gradients at the first batch of an epoch and is a constant in the later ones, so that
    features, projections and modality weights learn once an epoch. In the later batches they have no
    gradient, and Adam leaves them alone (``stale_gradients: skip``), or a gradient of zero, and Adam moves
    them on by their momentum (``zero``: what torch 1.x made of the published code). At evaluation G is built
    from the current parameters.

    What a relative such as MICRO does differently is in :meth:`_build_fusion`, :meth:`graph_parameters`,
    :meth:`build_graphs`, :meth:`fuse` and :meth:`batch_loss`.
    """

    settings: LATTICESettings
    item_graphs_name = "raw_graphs"

    def __init__(self, config: Config, dataset: MultimodalDataset):
        super().__init__(config, dataset)
        self.n_layers: int = self.settings.n_layers
        self.n_item_layers: int = self.settings.n_item_layers
        self.stale_gradients: str = self.settings.stale_gradients
        self.knn_k: int = self.settings.knn_k
        self.raw_graph_weight: float = self.settings.raw_graph_weight
        self.reg_weight: float = self.settings.reg_weight
        self.user_item_graph = self.graph.row_with_self()
        self.raw_graphs = self.build_item_graphs()

        size = self.embedding_size
        self.user_embedding = id_table(self.n_users, size)
        self.item_embedding = id_table(self.n_items, size)
        self.projections = ModalityProjections(self)
        self._build_fusion()
        self._training_graphs: list[SparseOperator] | None = None

    def build_item_graphs(self) -> list[SparseOperator]:
        """``N(knn(f^m))`` of each modality."""
        return [self.item_graph(name, self.knn_k, "similarity") for name in self.modalities]

    def _build_fusion(self) -> None:
        """The parameters that fuse the modalities."""
        n_modalities = len(self.modalities)
        self.modality_weights = nn.Parameter(torch.full((n_modalities,), 1 / n_modalities))

    def before_epoch(self, epoch: int) -> None:
        """Have the item graphs built anew at the next batch."""
        self._training_graphs = None

    def idle_parameters(self) -> list[nn.Parameter]:
        return self.graph_parameters() if self._has_constant_graphs and self.stale_gradients == "skip" else []

    # ---------------------------------------------------------------- item graphs

    def build_graphs(self) -> list[BlendedGraph]:
        """The item graphs of the current parameters, with gradients: one, of all modalities."""
        weights = torch.softmax(self.modality_weights, dim=0)
        similar = self.similar_items()
        neighbors = torch.cat([ids for ids, _ in similar], dim=1)
        cosines = torch.cat([weight * graph for weight, (_, graph) in zip(weights, similar, strict=True)], dim=1)
        values = normalise_symmetrically(neighbors, cosines)
        return [BlendedGraph(neighbors, values, self.raw_graphs, weights, self.raw_graph_weight)]

    def similar_items(self) -> list[tuple[Tensor, Tensor]]:
        """Per modality, neighbours by the projected features and their cosines, ``[n_items, k]`` each."""
        named = zip(self.modalities, self.projections.project_all(), strict=True)
        return [similar_items(self.without_missing(name, projected), self.knn_k) for name, projected in named]

    def graph_parameters(self) -> list[nn.Parameter]:
        """The parameters that item graphs are built from."""
        return [*self.feature_parameters(), self.modality_weights]

    def feature_parameters(self) -> list[nn.Parameter]:
        """The parameters of the projected features: the features where they are trained, projections and adapters."""
        return [*self.features.trained(), *self.projections.parameters(), *self.feature_adapters.parameters()]

    @property
    def _has_constant_graphs(self) -> bool:
        """Whether the next training batch takes the graphs that an earlier one of its epoch built."""
        return self.training and self._training_graphs is not None

    def _graphs(self) -> list[BlendedGraph] | list[SparseOperator]:
        if not self.training:
            with torch.no_grad():
                return self.build_graphs()
        if self._training_graphs is not None:
            return self._training_graphs
        graphs = self.build_graphs()
        self._training_graphs = [graph.constant() for graph in graphs]
        return graphs

    # ---------------------------------------------------------------- vectors and loss

    def item_views(self) -> list[Tensor]:
        """``G^{L'} E_i`` of each item graph, ``[n_items, d]``."""
        return [self._propagated(graph) for graph in self._graphs()]

    def _propagated(self, graph: BlendedGraph | SparseOperator) -> Tensor:
        nodes: Tensor = self.item_embedding
        for _ in range(self.n_item_layers):
            nodes = graph @ nodes
        return nodes

    def fuse(self, views: list[Tensor]) -> Tensor:
        """h of all items, ``[n_items, d]``, from the product of each item graph."""
        return views[0]

    def behaviour_tables(self) -> tuple[Tensor, Tensor]:
        """LightGCN's users u ``[n_users, d]`` and items i' ``[n_items, d]``."""
        nodes = torch.cat([self.user_embedding, self.item_embedding])
        return light_gcn(self.user_item_graph, nodes, self.n_layers).split([self.n_users, self.n_items])

    def encode(self) -> tuple[Tensor, Tensor]:
        """Users u ``[n_users, d]`` and items i ``[n_items, d]``."""
        users, items = self.behaviour_tables()
        return users, items + l2_normalise(self.fuse(self.item_views()))

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """The batch's loss and, where asked for, zero gradients of what a constant graph was built from."""
        graphs_were_constant = self._has_constant_graphs
        loss = self.batch_loss(interaction)
        if graphs_were_constant and self.stale_gradients == "zero":
            loss = loss + 0.0 * sum(parameter.sum() for parameter in self.graph_parameters())
        return loss

    def batch_loss(self, interaction: Interaction) -> Tensor:
        """BPR and the regulariser of the batch's final rows."""
        return self.sum_of_terms(**self.ranking_terms(interaction, self.fuse(self.item_views())))

    def ranking_terms(self, interaction: Interaction, item_signal: Tensor) -> dict[str, Tensor]:
        """BPR and the regulariser, from h ``[n_items, d]``."""
        users, positives, negatives = self.batch(interaction)
        user_vectors, item_vectors = self.behaviour_tables()
        (user,) = gather(user_vectors, users)
        items, signals = (gather(table, positives, negatives) for table in (item_vectors, item_signal))
        pairs = zip(items, signals, strict=True)
        positive, negative = (item + l2_normalise(signal) for item, signal in pairs)
        ranking = bpr_loss((user * (positive - negative)).sum(dim=-1))
        squares = half_squared_per_batch(self.train_batch_size, user, positive, negative)
        return {"ranking": ranking, "regularisation": self.reg_weight * squares}
