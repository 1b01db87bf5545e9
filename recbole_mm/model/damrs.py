"""DA-MRS: improving multi-modal recommender systems by denoising and aligning multi-modal content and user feedback."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from recbole.config import Config
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_mm.data.dataset import MultimodalDataset
from recbole_mm.graph import SparseOperator, consistent_graphs, cooccurrence_graph, joins_nothing, tell_of_no_edges
from recbole_mm.model.base import MultimodalRecommender
from recbole_mm.model.settings import ModelSettings
from recbole_mm.nn.alignment import preference_alignment, relation_alignment
from recbole_mm.nn.gather import gather
from recbole_mm.nn.normalise import l2_normalise
from recbole_mm.nn.precision import full_precision
from recbole_mm.nn.propagation import light_gcn
from recbole_mm.nn.sums import total
from recbole_mm.nn.user_embedding import id_table
from recbole_mm.registry import register_model
from recbole_mm.setting_conditions import acts_where
from recbole_mm.settings import Count, Layers, Positive, Weight


class DAMRSSettings(ModelSettings):
    """DA-MRS (KDD 2024) on LightGCN: what its authors' logs found best on Baby, Sports and Clothing."""

    n_layers: Layers = 2
    """Layers over the user-item graph."""
    n_item_layers: Layers = 1
    """Layers over each item graph, whose last counts."""
    knn_k: Count = 10
    """Nearest items of each item among those that all modalities find similar, itself included."""
    relation_weight: Weight = 0.001
    """Weight of the alignment by graded item relations; from 0.1 on it spoils the model."""
    preference_weight: Weight = 1.0
    """Weight of the alignment by what users prefer."""
    relation_size: Annotated[Count, acts_where("relation_weight")] = 10
    """Items that all graphs relate to an item, and as many that one graph does."""
    relation_temperature: Annotated[Positive, acts_where("relation_weight")] = 0.2
    """Temperature of the contrast between related items and all."""
    pos_mean_power: Positive = 1.0
    """Exponent of the mean of the graphs' confidences in the weight of a positive item."""
    pos_var_power: Positive = 2.0
    """Factor of their variance in the exponent of that weight."""
    neg_power: Positive = 1.0
    """Exponent of the weight of a negative item that is likely a positive one."""

    aliases: ClassVar = {"n_ui_layers": "n_layers", "n_mm_layers": "n_item_layers"}
    defaults: ClassVar = {"learning_rate": 0.001, "train_batch_size": 4096, "epochs": 500}
    published: ClassVar = {"valid_metric": "Recall@20", "stopping_step": 25}


@register_model(
    settings=DAMRSSettings,
    paper="Improving multi-modal recommender systems by denoising and aligning multi-modal content and user feedback",
    year=2024,
    needs="features; item graphs are built and cached",
)
class DAMRS(MultimodalRecommender):
    r"""LightGCN and item graphs of what modalities agree on, trained on feedback that the graphs weigh.

    .. math::
        [U; I] = \mathrm{mean}_{l=0..L} G^l [E_u; E_i], \quad h^a = (S^a)^{L'} E_i, \quad
        \bar h = \mathrm{mean}_a h^a, \quad y_{ui} = \langle U_u, I_i + \bar h_i \rangle

    over the graphs a: one of each modality (:func:`~recbole_mm.graph.consistent_graphs`) and one of items that users
    have together (:func:`~recbole_mm.graph.cooccurrence_graph`). With the confidences
    :math:`p_a = \sigma \langle U_u, \mathrm{L2n}(h^a_i) \rangle`, the same q of the negative item k, and
    :math:`\bar q` the mean of q over the batch and the graphs:

    .. math::
        L = -\mathrm{mean}\,[w^+ \ln \sigma(y_{ui} - y_{uk}) + w^- \ln \sigma(y_{uk} - y_{ui})]
            + \lambda_{AI} L_{AI} + \lambda_{AU} L_{AU}, \\
        w^+ = \overline{p}\, e^{-2 \mathrm{var}\, p}, \quad
        w^- = (\max p - \bar q)\,[\overline{p} < \bar q]

    both weights in [0, 1] and without a gradient, the variance unbiased. L_AU is
    :func:`~recbole_mm.nn.alignment.preference_alignment` of L2n(I) and L2n(h) over the batch's distinct users and
    items, L_AI :func:`~recbole_mm.nn.alignment.relation_alignment` of these items among all. Features are in the
    graphs alone. Faithful to: the authors' released code.
    """

    settings: DAMRSSettings

    def __init__(self, config: Config, dataset: MultimodalDataset):
        super().__init__(config, dataset)
        settings = self.settings
        if not 1 <= settings.knn_k < self.n_items:
            raise ValueError(f"knn_k: {settings.knn_k} must be from 1 to {self.n_items - 1}, the number of items")
        if settings.relation_weight and 2 * settings.relation_size >= self.n_items:
            raise ValueError(
                f"relation_size: {settings.relation_size} must be at most {(self.n_items - 1) // 2}, half the number "
                "of items"
            )
        self.user_embedding = id_table(self.n_users, self.embedding_size)
        self.item_embedding = id_table(self.n_items, self.embedding_size)
        self.user_item_graph = self.graph.symmetric()
        content_graphs, used_together = self._content_graphs(), cooccurrence_graph(self.graph)
        agreed = "the graph of items that all modalities find alike"
        tell_of_no_edges(all(map(joins_nothing, content_graphs)), agreed, "set more knn_k, or fewer modalities")
        together = "the graph of items that two users have together"
        tell_of_no_edges(joins_nothing(used_together), together, "it takes more interactions")
        self.item_graphs = [*content_graphs, used_together]
        self.adapters.check()

    def _content_graphs(self) -> list[SparseOperator]:
        """Those of the modalities, from disk where they were built before."""
        features = [self.without_missing(name, self.feature(name).detach()) for name in self.modalities]
        shape = (self.n_items, self.n_items)

        def build() -> dict[str, np.ndarray]:
            matrices = [graph.to_scipy() for graph in consistent_graphs(features, self.settings.knn_k)]
            return {
                f"{name}{number}": array
                for number, matrix in enumerate(matrices)
                for name, array in (("indptr", matrix.indptr), ("indices", matrix.indices), ("values", matrix.data))
            }

        inputs = [feature.cpu().numpy() for feature in features]
        parameters = {"k": self.settings.knn_k, "pairs_at_the_mean": "kept"}  # not so in files of earlier versions

        def make(arrays: dict[str, np.ndarray]) -> list[SparseOperator]:
            return [
                SparseOperator(arrays[f"indptr{number}"], arrays[f"indices{number}"], arrays[f"values{number}"], shape)
                for number in range(len(features))
            ]

        return self.graph_cache.get("consistent-graphs", inputs, parameters, build, make)

    def behaviour_tables(self) -> tuple[Tensor, Tensor]:
        """``U [n_users, d]`` and ``I [n_items, d]``, without the item graphs."""
        nodes = light_gcn(
            self.user_item_graph, torch.cat([self.user_embedding, self.item_embedding]), self.settings.n_layers
        )
        return nodes.split([self.n_users, self.n_items])

    def related_items(self) -> list[Tensor]:
        """``h^a [n_items, d]`` of each graph, that of items used together last."""
        return [
            light_gcn(graph, self.item_embedding, self.settings.n_item_layers, "last") for graph in self.item_graphs
        ]

    def encode(self) -> tuple[Tensor, Tensor]:
        """Users ``U [n_users, d]`` and items ``I + mean_a h^a``, ``[n_items, d]``."""
        users, items = self.behaviour_tables()
        related = self.related_items()
        return users, items + sum(related) / len(related)

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """BPR by the weights of both items, and the two alignments."""
        settings = self.settings
        users, positives, negatives = self.batch(interaction)
        user_table, item_table = self.behaviour_tables()
        related = self.related_items()
        mean_related = total(related) / len(related)
        units = [l2_normalise(table) for table in related]
        positive, negative = gather(item_table + mean_related, positives, negatives)
        (user,) = gather(user_table, users)
        margin = (user * (positive - negative)).sum(dim=-1)
        positive_weight, negative_weight = self.feedback_weights(user, units, positives, negatives)
        self.record(positive_weight=positive_weight.mean(), negative_weight=negative_weight.mean())
        ranking = -(positive_weight * F.logsigmoid(margin) + negative_weight * F.logsigmoid(-margin)).mean()
        terms = {"ranking": ranking}
        items = torch.cat([positives, negatives]).unique()
        if settings.preference_weight:
            (distinct,) = gather(user_table, users.unique())
            tables = (l2_normalise(gather(table, items)[0]) for table in (item_table, mean_related))
            alignment = preference_alignment(*map(full_precision, (distinct, *tables)))
            terms["preference"] = settings.preference_weight * alignment
        if settings.relation_weight:
            rows = [full_precision(unit)[1:] for unit in units]
            alignment = relation_alignment(rows, items - 1, settings.relation_size, settings.relation_temperature)
            terms["relation"] = settings.relation_weight * alignment
        return self.sum_of_terms(**terms)

    @torch.no_grad()
    def feedback_weights(
        self, user: Tensor, units: list[Tensor], positives: Tensor, negatives: Tensor
    ) -> tuple[Tensor, Tensor]:
        """``w^+`` and ``w^-`` of a batch, ``[batch]`` each.

        Args:
            user: the batch's users, ``[batch, d]``.
            units: L2n(h^a) of each graph, ``[n_items, d]``.
            positives, negatives: item ids, ``[batch]``.
        """
        settings = self.settings
        confidences = torch.stack([(user * unit[positives]).sum(dim=-1).sigmoid() for unit in units])
        of_negatives = torch.stack([(user * unit[negatives]).sum(dim=-1).sigmoid() for unit in units]).mean()
        mean = confidences.mean(dim=0)
        positive = mean**settings.pos_mean_power * (-settings.pos_var_power * confidences.var(dim=0)).exp()
        doubt = (confidences.amax(dim=0) - of_negatives).clamp(0, 1) ** settings.neg_power
        return positive.clamp(0, 1), doubt * (mean < of_negatives)
