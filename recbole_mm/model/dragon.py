"""DRAGON: dyadic relations and homogeneous graphs for multimodal recommendation (ECAI 2023)."""

from __future__ import annotations

from typing import ClassVar

import torch
from recbole.config import Config
from torch import Tensor

from recbole_mm.data.dataset import MultimodalDataset
from recbole_mm.graph import SparseOperator
from recbole_mm.model.dual_graph import ListeningRecommender
from recbole_mm.model.settings import LateFusionSettings
from recbole_mm.nn.dual_graph import fusion_weights, propagate_modalities
from recbole_mm.nn.loss import mean_square
from recbole_mm.nn.propagation import light_gcn
from recbole_mm.registry import register_model
from recbole_mm.settings import Count, Few, Layers, Weight, Weights


class DRAGONSettings(LateFusionSettings):
    """DRAGON (ECAI 2023): its authors' settings; reg_weight is that of Baby and Sports, Clothing has 0.1. The
    modality_weights of DRAGON.hyper are those of two modalities; with another number put lists of that length there.
    """

    n_layers: Layers = 2
    """Layers on the user-item graph, whose sum with layer 0 is read out."""
    n_item_layers: Layers = 1
    """Layers on the item graph, whose last is added."""
    knn_k: Count = 10
    """Nearest items per item, itself included."""
    modality_weights: Weights | dict[str, Weight] | None = None
    """Weights of the item graphs, such as {visual: 0.1, textual: 0.9}; that if not set, where the names say
    which is which (visual 0.1, one other 0.9), else equal.
    """
    user_graph_width: Few = 40
    """K, the similar users that a user listens to."""
    user_weights: bool = True
    """Whether a user weights the modalities; False in MARGO's backbone."""
    reg_weight: Weight = 0.001
    """Weight of the mean squares of user rows and user weights."""

    defaults: ClassVar = {"learning_rate": 0.0001, "train_batch_size": 2048, "epochs": 1000}
    published: ClassVar = {"valid_metric": "Recall@20", "stopping_step": 20}


@register_model(
    settings=DRAGONSettings,
    paper="Enhancing dyadic relations with homogeneous graphs for multimodal recommendation",
    year=2023,
    modalities="any number",
    needs="features; user and item graphs are built and cached",
)
class DRAGON(ListeningRecommender):
    r"""DualGNN's modalities side by side, with a user-user graph on one side and an item graph on the other.

    .. math::
        c_u = [w_u^m R_u^m]_m, \quad c_i = [R_i^m]_m, \quad
        U_u = c_u + \sum_w s_{uw} c_w, \quad V_i = c_i + (S^{L'} c)_i, \quad S = \sum_m a_m S^m, \quad
        y_{ui} = \langle U_u, V_i \rangle = \sum_m \langle U_u^m, V_i^m \rangle

    with :math:`R^m` as in DualGNN, :math:`S^m` the mean over an item's k nearest items by the features as
    loaded, and :math:`s_u` the softmax of the items that user u shares with K others. The paper's ``a_v =
    0.1, a_t = 0.9`` stand for two modalities; others are weighted equally. With one modality, or
    ``user_weights: False`` (MARGO's backbone), there are no weights w. Loss: mean BPR to base 2, and
    ``reg_weight`` times the mean squares of the batch's user rows and of the whole table of user weights.
    """

    settings: DRAGONSettings
    item_graphs_name = "fused_item_graph"

    def __init__(self, config: Config, dataset: MultimodalDataset):
        super().__init__(config, dataset)
        self.n_layers: int = self.settings.n_layers
        self.n_item_layers: int = self.settings.n_item_layers
        self.reg_weight: float = self.settings.reg_weight
        n_modalities = len(self.modalities)
        self.user_fusion = None
        if self.settings.user_weights and n_modalities > 1:
            self.user_fusion = fusion_weights(self.n_users, n_modalities)
        self.user_item_graph = self.graph.symmetric(epsilon=0.0)
        self.fused_item_graph = self.build_item_graphs()
        self.user_graph_sampler = self.user_graphs(self.settings.user_graph_width, config["seed"])

    def build_item_graphs(self) -> SparseOperator:
        """S, one graph of all modalities."""
        return self.weighted_item_graph(self.settings.knn_k, self.settings.modality_weights, visual=0.1)

    def behaviour_tables(self) -> tuple[Tensor, Tensor]:
        """Users and items as the users' tables alone make them, each the mean over the modalities.

        Items have no ID vectors here: what behaviour knows of one is who chose it.
        """
        users = self.user_embedding()
        items = users.new_zeros(self.n_items, *users.shape[1:])
        users, items = propagate_modalities(self.user_item_graph, users, items, self.n_layers)
        return users.mean(dim=1), items.mean(dim=1)

    def propagate(self) -> tuple[Tensor, Tensor]:
        """Users ``c_u [n_users, M * d]`` before the user-user graph, and items ``V_i [n_items, M * d]``."""
        nodes = self.user_embedding(), torch.stack(self.projections.project_all(), dim=1)
        users, items = propagate_modalities(self.user_item_graph, *nodes, self.n_layers)
        if self.user_fusion is not None:
            users = users * self.user_fusion.unsqueeze(-1)
        items = items.flatten(1)
        return users.flatten(1), items + light_gcn(self.fused_item_graph, items, self.n_item_layers, "last")

    def regularisation(self, users: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
        """Weighted mean squares of the batch's user rows and of all user weights but those of [PAD]."""
        weights = [] if self.user_fusion is None else [self.user_fusion[1:]]
        return self.reg_weight * mean_square(*self.user_embedding.rows(users), *weights)
