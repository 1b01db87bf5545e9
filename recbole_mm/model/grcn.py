"""GRCN: graph-refined convolutional network for multimedia recommendation (ACM MM 2020)."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from recbole.config import Config
from torch import Tensor, nn

from recbole_mm.data.dataset import MultimodalDataset
from recbole_mm.model.late_fusion import LateFusionRecommender
from recbole_mm.model.projections import ModalityProjections
from recbole_mm.model.settings import LateFusionSettings
from recbole_mm.nn.edge_attention import EdgeSet, at_sources, attend, edge_dot, edge_sum, turn
from recbole_mm.nn.gather import gather
from recbole_mm.nn.initial_values import xavier_normal_part
from recbole_mm.nn.loss import mean_square
from recbole_mm.nn.normalise import l2_normalise
from recbole_mm.nn.user_embedding import UserEmbedding, id_table
from recbole_mm.registry import register_model
from recbole_mm.setting_conditions import acts_where
from recbole_mm.settings import Layers, LayersOrZero, Weight


class GRCNSettings(LateFusionSettings):
    """GRCN (ACM MM 2020), as in the public code this field compares with. Grids without a published best: the middle
    for reg_weight, the field's usual learning rate.
    """

    n_routings: LayersOrZero = 3
    """Times a user's preference moves to the content attended; 0 equals the public code."""
    n_layers: Layers = 2
    """Layers of the ID branch, whose sum with layer 0 is read out."""
    reg_weight: Weight = 0.001
    """Weight of the mean squares of the batch's ID and preference rows."""
    regularise_whole_table: Annotated[bool, acts_where("reg_weight")] = True
    """Also of the first modality's whole preference table; the authors' code does not."""

    defaults: ClassVar = {"learning_rate": 0.001, "train_batch_size": 2048, "epochs": 1000}
    published: ClassVar = {"valid_metric": "Recall@20", "stopping_step": 20}


@register_model(
    settings=GRCNSettings,
    paper="Graph-refined convolutional network for multimedia recommendation with implicit feedback",
    year=2020,
    modalities="any number, and the item ID as one more",
)
class GRCN(LateFusionRecommender):
    r"""How well an item's content fits a user's preference decides how much of their interaction is believed.

    Per modality, with unit vectors :math:`p_u^m` of preferences and :math:`c_i^m` of
    :math:`\mathrm{LeakyReLU}(W^m f_i^m + b^m)`, and :math:`a^m` the softmax of
    :math:`\langle x_t, x_s \rangle` over the edges from sources s to each target t:

    .. math::
        p_u^m \leftarrow \mathrm{L2n}\Big(p_u^m + \sum_{i \in N_u} a^m_{ui} c_i^m\Big) \text{ a few times,} \\
        R_t^m = x_t^m + \sum_{s \in N_t} a_{ts}^m x_s^m \\
        g_{ts} = \mathrm{ReLU}\big(\max_m a_{ts}^m \kappa_s^m\big), \quad
        R^{id} = \sum_{l=0}^{L} G^l\, \mathrm{L2n}(E), \quad y_{ui} = \sum_m \langle R_u^m, R_i^m \rangle

    over the modalities (id, m_1, m_2, ...), with a confidence :math:`\kappa` per node and modality. Loss:
    mean BPR and ``reg_weight`` times mean squares of the batch's ID and preference rows.

    ``n_routings: 0`` gives the numbers of the public code, whose routing sends nothing to users and so
    changes nothing. With ``user_embedding: shared`` or ``prompted`` (POWERec) one user table takes the place
    of the users' ID rows and of all preferences.
    """

    settings: GRCNSettings

    def __init__(self, config: Config, dataset: MultimodalDataset):
        super().__init__(config, dataset)
        self.rated_modalities = ["id", *self.modalities]
        self.n_layers: int = self.settings.n_layers
        self.n_routings: int = self.settings.n_routings
        self.reg_weight: float = self.settings.reg_weight
        self.regularise_whole_table: bool = self.settings.regularise_whole_table
        self.user_embedding = self._user_embedding()
        size, n_modalities = self.embedding_size, len(self.modalities)
        n_nodes = self.n_users + self.n_items - 2  # without [PAD]
        self.item_embedding = id_table(self.n_items, size, xavier_normal_part(n_nodes, size))
        confidence = xavier_normal_part(n_nodes, n_modalities)
        self.user_confidence = id_table(self.n_users, n_modalities, confidence)
        self.item_confidence = id_table(self.n_items, n_modalities, confidence)
        self.projections = ModalityProjections(self, activation=F.leaky_relu_)
        for layer in self.projections:
            nn.init.xavier_normal_(layer.get_parameter("weight"))
        interactions = self.graph.raw_block()
        self.to_users = EdgeSet(interactions)
        self.to_items = EdgeSet(interactions.transpose())

    def _user_embedding(self) -> UserEmbedding:
        """One table per rated modality, or one for all; an ID table is part of one of all nodes."""
        embedding = self.user_tables(nn.init.xavier_normal_)
        if embedding.kind == "separate":
            size, n_users, n_items = self.embedding_size, self.n_users - 1, self.n_items - 1
            embedding.tables[0].data *= math.sqrt((n_users + size) / (n_users + n_items + size))
        return embedding

    def route(self, preferences: Tensor, content: Tensor) -> Tensor:
        """Preferences ``[n_users, d]`` moved toward the content ``[n_items, d]`` they attend to."""
        for _ in range(self.n_routings):
            scores = edge_dot(self.to_users, preferences, content)
            preferences = l2_normalise(preferences + attend(self.to_users, scores, content)[0])
        return preferences

    def representations(self) -> tuple[list[Tensor], list[Tensor]]:
        """``R^m`` of users ``[n_users, d]`` and of items ``[n_items, d]``, one per rated modality."""
        tables = self.user_embedding.per_modality()
        users, items, to_users, to_items = [], [], [], []
        for name, table in zip(self.modalities, tables[1:], strict=True):
            content = l2_normalise(self.projections.project(name))
            preferences = self.route(l2_normalise(table), content)
            scores = edge_dot(self.to_users, preferences, content)
            from_items, attention_to_users = attend(self.to_users, scores, content)
            scores = turn(self.to_users, self.to_items, scores)
            from_users, attention_to_items = attend(self.to_items, scores, preferences)
            users.append(preferences + from_items)
            items.append(content + from_users)
            to_users.append(attention_to_users)
            to_items.append(attention_to_items)
        weights = (
            edge_weights(self.to_users, torch.stack(to_users, dim=1), self.item_confidence),
            edge_weights(self.to_items, torch.stack(to_items, dim=1), self.user_confidence),
        )
        id_users, id_items = self.propagate_ids(
            l2_normalise(tables[0]), l2_normalise(self.item_embedding), *weights
        )
        return [id_users, *users], [id_items, *items]

    def propagate_ids(
        self, users: Tensor, items: Tensor, to_users: Tensor, to_items: Tensor
    ) -> tuple[Tensor, Tensor]:
        """``x + G x + ... + G^L x`` of users ``[n_users, d]`` and items ``[n_items, d]``.

        Args:
            users, items: x.
            to_users, to_items: weights of the edges in G, ``[n_edges]``.
        """
        total_users, total_items = users, items
        for _ in range(self.n_layers):  # Horner's scheme, as in light_gcn
            total_users, total_items = (
                users + edge_sum(self.to_users, to_users, total_items),
                items + edge_sum(self.to_items, to_items, total_users),
            )
        return total_users, total_items

    def encode(self) -> tuple[Tensor, Tensor]:
        """Users ``R_u^m [n_users, 1 + M, d]`` and items ``R_i^m [n_items, 1 + M, d]``."""
        users, items = self.representations()
        return torch.stack(users, dim=1), torch.stack(items, dim=1)

    def batch_vectors(
        self, users: Tensor, positives: Tensor, negatives: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The rows of :meth:`encode` of a batch, ``[batch, 1 + M, d]`` each."""
        user_tables, item_tables = self.representations()
        user = [F.embedding(users, table) for table in user_tables]
        positive, negative = zip(*(gather(table, positives, negatives) for table in item_tables), strict=True)
        return torch.stack(user, dim=1), torch.stack(positive, dim=1), torch.stack(negative, dim=1)

    def regularisation(self, users: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
        """Weighted mean squares of the batch's rows, and of the first modality's whole preference table."""
        items = gather(self.item_embedding, positives, negatives)
        total = mean_square(*self.user_embedding.rows(users)) + mean_square(*items) / len(items)
        if self.regularise_whole_table:
            first = 1 if self.user_embedding.kind == "separate" else 0  # the ID's table comes before it
            total = total + mean_square(self.user_embedding.tables[first][1:])
        return self.reg_weight * total


def edge_weights(edges: EdgeSet, attention: Tensor, confidence: Tensor) -> Tensor:
    """``ReLU(max_m a_e^m kappa_s^m)`` of each edge e from a source s, ``[n_edges]``.

    Args:
        attention: ``[n_edges, M]``.
        confidence: of the sources, ``[n_sources, M]``.
    """
    return (attention * at_sources(edges, confidence)).max(dim=-1).values.relu()
