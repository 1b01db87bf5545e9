"""LightGCNM: LightGCN with VBPR's head on content, the LightGCN-M of a public benchmark (2024)."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from recbole.config import Config
from recbole.data.interaction import Interaction
from torch import Tensor, nn

from recbole_mm.data.dataset import MultimodalDataset
from recbole_mm.model.base import MultimodalRecommender
from recbole_mm.model.projections import JointProjection
from recbole_mm.model.settings import ModelSettings
from recbole_mm.nn.distinct import at_distinct
from recbole_mm.nn.gather import gather
from recbole_mm.nn.loss import bpr_loss, half_squared_per_batch
from recbole_mm.nn.normalise import l2_normalise
from recbole_mm.nn.propagation import light_gcn
from recbole_mm.nn.user_embedding import id_table
from recbole_mm.registry import register_model
from recbole_mm.settings import Layers, Weight


class LightGCNMSettings(ModelSettings):
    """LightGCN-M as in a public benchmark's code; layers and reg_weight are LightGCN's own."""

    n_layers: Layers = 3
    """Layers over the user-item graph."""
    reg_weight: Weight = 0.0001
    """Weight of half the squared norms of the batch's vectors, over the batch's own size."""

    defaults: ClassVar = {"learning_rate": 0.001, "train_batch_size": 2048, "epochs": 1000}
    published: ClassVar = {"valid_metric": "Recall@20", "stopping_step": 20}


@register_model(
    settings=LightGCNMSettings,
    paper="LightGCN-M of SisInfLab's benchmark of missing modalities",
    year=2024,
    modalities="any number, concatenated",
)
class LightGCNM(MultimodalRecommender):
    r"""LightGCN by ID and, beside it, a second user table against the normalised content.

    .. math::
        [\gamma_u; \gamma_i] = \mathrm{mean}_{l=0..L} G^l [E_u; E_i], \quad
        y_{ui} = \langle \gamma_u, \gamma_i \rangle + \langle T_u, \overline{W f_i + b} \rangle

    with all modalities' features f side by side and rows of length 1 under the bar. Loss: mean softplus of
    the negative margin, and ``reg_weight`` over twice the batch's own size times the squared norms of the six matrices
    that a batch is scored by: :math:`\gamma` of users, positive and negative items, as propagated, :math:`T_u` and
    both items' content. Which six is this implementation's reading. The "LightGCN-M" of MMSSL's and DiffMM's tables was
    never published as code.
    """

    settings: LightGCNMSettings

    def __init__(self, config: Config, dataset: MultimodalDataset):
        super().__init__(config, dataset)
        self.user_embedding = id_table(self.n_users, self.embedding_size, _normal)
        self.item_embedding = id_table(self.n_items, self.embedding_size, _normal)
        self.user_preference = id_table(self.n_users, self.embedding_size)
        self.content_projection = JointProjection(self)
        self.full_graph = self.graph.symmetric()

    @property
    def projected_features(self) -> list[str]:
        """One: all modalities are projected together, and a single one by itself."""
        return self.modalities if len(self.modalities) == 1 else ["content"]

    def modality_vectors(self, modality: str, features: Tensor) -> Tensor:
        """What one modality adds to the content before it is normalised, with the bias."""
        return self.content_projection.share(modality, features)

    def content(self, items: Tensor | None = None) -> Tensor:
        """Projected content of length 1, of some distinct items ``[n]`` or of all, ``[n, d]``."""
        return l2_normalise(self.content_projection.project(self.projected_features[0], items))

    def behaviour_tables(self) -> tuple[Tensor, Tensor]:
        """LightGCN's users and items."""
        nodes = torch.cat([self.user_embedding, self.item_embedding])
        users, items = light_gcn(self.full_graph, nodes, self.settings.n_layers).split([self.n_users, self.n_items])
        return users, items

    def encode(self) -> tuple[Tensor, Tensor]:
        """Both halves of users ``[n_users, 2d]`` and items ``[n_items, 2d]``."""
        users, items = self.behaviour_tables()
        return torch.cat([users, self.user_preference], dim=1), torch.cat([items, self.content()], dim=1)

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """Mean BPR and the regulariser; only the batch's items are projected."""
        users, positives, negatives = self.batch(interaction)
        user_table, item_table = self.behaviour_tables()
        user, preference = F.embedding(users, user_table), F.embedding(users, self.user_preference)
        positive, negative = gather(item_table, positives, negatives)
        liked, other = at_distinct(self.content, positives, negatives)
        margin = (user * (positive - negative) + preference * (liked - other)).sum(dim=-1)
        norms = half_squared_per_batch(len(users), user, positive, negative, preference, liked, other)
        return self.sum_of_terms(ranking=bpr_loss(margin), regularisation=self.settings.reg_weight * norms)


def _normal(table: Tensor) -> Tensor:
    return nn.init.normal_(table, std=0.1)
