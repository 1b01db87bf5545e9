"""SLMRec: self-supervised learning for multimedia recommendation (IEEE Transactions on Multimedia, 2023)."""

from __future__ import annotations

from typing import Annotated, ClassVar

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
from recbole_mm.nn.log_sum_exp import sum_of_log_sum_exp
from recbole_mm.nn.loss import info_nce
from recbole_mm.nn.user_embedding import id_table
from recbole_mm.registry import register_model
from recbole_mm.setting_conditions import acts_where
from recbole_mm.settings import Layers, Positive, Weight


class SLMRecSettings(ModelSettings):
    """SLMRec (IEEE TMM 2023), as in the public code of the survey that most papers quote. That gives grids and no
    best values: these are their middles.
    """

    n_layers: Layers = 3
    """LightGCN layers L."""
    temperature: Positive = 0.2
    """Temperature of the main loss."""
    contrast_temperature: Annotated[Positive, acts_where("contrast_weight")] = 0.5
    """Temperature of the self-supervised loss; grid 0.1 to 1."""
    contrast_weight: Weight = 0.1
    """Weight of the self-supervised loss; grid 0.01 to 1; 0 leaves it out."""

    aliases: ClassVar = {"ssl_weight": "contrast_weight", "ssl_temperature": "contrast_temperature"}
    defaults: ClassVar = {
        "learning_rate": 0.001, "train_batch_size": 2048, "epochs": 1000, "weight_decay": 0.0001,
        "train_neg_sample_args": None, "normalize_feature": True,
    }
    published: ClassVar = {"valid_metric": "Recall@20", "stopping_step": 20}


@register_model(
    settings=SLMRecSettings,
    paper="Self-supervised learning for multimedia recommendation",
    year=2023,
    modalities="any number, and the item ID as one more",
    needs="features; no negative items",
)
class SLMRec(MultimodalRecommender):
    r"""LightGCN per modality over shared users, one linear map of all of them, and contrasts in place of BPR.

    With ``G`` the symmetric graph, ``X^0 = E`` and ``X^m = f^m W^m + b^m`` for the modalities m = 1, 2, ...:

    .. math::
        [R^m_u; R^m_i] = \mathrm{mean}_{l \leq L} G^l [U; X^m], \quad
        z_u = W_u [R^0_u, R^1_u, \dots] + b_u, \quad z_i = W_i [R^0_i, R^1_i, \dots] + b_i

    The main loss is the in-batch cross-entropy of each user's cosine to its positive item, at a temperature.
    The self-supervised one contrasts, over the batch's positive items, the ID view ``a = g_1(R^0)`` with the
    modalities, by in-batch cross-entropy of dot products at a temperature of its own:

    - the first modality in a fine space of width d: a against ``g_2(R^1)``;
    - the second in a coarse space of width d / 2: ``g_4(g_3(a))`` against ``g_5(R^2)``.

    The paper has the modalities visual and textual, in this order. Here the first one named is the fine one,
    and each further one has a coarse space with maps ``g_3, g_4, g_5`` of its own: with two modalities this
    is the paper's loss, with one the coarse space is left out. Scores are ``<z_u, z_i>``, which ranks as the
    paper's sigmoid of it.

    Features are L2-normalised per row by the data set (``normalize_feature: True`` in this model's yaml).
    """

    settings: SLMRecSettings

    def __init__(self, config: Config, dataset: MultimodalDataset):
        super().__init__(config, dataset)
        self.n_layers: int = self.settings.n_layers
        self.temperature: float = self.settings.temperature
        self.contrast_temperature: float = self.settings.contrast_temperature
        self.contrast_weight: float = self.settings.contrast_weight

        width, coarse = self.embedding_size, self.embedding_size // 2
        n_views = 1 + len(self.modalities)
        self.user_embedding = id_table(self.n_users, width)
        self.item_embedding = id_table(self.n_items, width)
        self.projections = ModalityProjections(self, (_linear(own, width) for own in self.features.widths))
        self.user_map = _linear(n_views * width, width)
        self.item_map = _linear(n_views * width, width)
        self.id_head = _linear(width, width)
        self.fine_head = _linear(width, width)
        self.coarse_id_heads = nn.ModuleList(
            nn.Sequential(_linear(width, width), _linear(width, coarse)) for _ in self.modalities[1:]
        )
        self.coarse_heads = nn.ModuleList(_linear(width, coarse) for _ in self.modalities[1:])
        self.unused = _linear(width, width)  # in the published parameter count, in no formula
        self.to_users = self.graph.user_item_block(epsilon=1e-8)

    def encode(self) -> tuple[Tensor, Tensor]:
        """``z`` of users ``[n_users, d]`` and items ``[n_items, d]``."""
        user_parts, item_parts = self.propagate()
        return self.user_map(self.views(*user_parts)), self.item_map(self.views(*item_parts))

    def propagate(self) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """The views ``R^m`` of users, and those of items, each in two parts that :meth:`views` adds.

        The graph joins users to items only, so that layers alternate between the two sides: what starts at
        the users, whom all views share, is propagated once, ``[n, d]``, and what starts at the items of each
        view side by side, ``[n, (1 + M) * d]``, both over half the graph.
        """
        items = torch.cat([self.item_embedding, *self.projections.project_all()], dim=1)
        there, back = self.to_users.transpose(), self.to_users
        users_from_users, items_from_users = _alternate(self.user_embedding, there, back, self.n_layers)
        items_from_items, users_from_items = _alternate(items, back, there, self.n_layers)
        return (users_from_users, users_from_items), (items_from_users, items_from_items)

    def views(self, shared: Tensor, own: Tensor) -> Tensor:
        """``[R^0, R^1, ...]`` of some rows side by side, ``[n, (1 + M) * d]``, from their two parts."""
        views = own.view(len(own), -1, self.embedding_size) + shared.unsqueeze(1)
        return views.flatten(1) / (self.n_layers + 1)

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """The main contrast and the weighted self-supervised one, both means over the batch."""
        users, positives = interaction[self.USER_ID], interaction[self.ITEM_ID]
        user_parts, item_parts = self.propagate()
        user_views = self.views(*(row for part in user_parts for row in gather(part, users)))
        item_views = self.views(*(row for part in item_parts for row in gather(part, positives)))
        both = self.user_map(user_views), self.item_map(item_views)
        terms = {"ranking": info_nce(*both, self.temperature, (users, positives))}
        if self.contrast_weight:
            terms["contrast"] = self.contrast_weight * self.fine_and_coarse_loss(item_views, positives)
        return self.sum_of_terms(**terms)

    def fine_and_coarse_loss(self, item_views: Tensor, items: Tensor) -> Tensor:
        """Self-supervised loss of the batch's positive items ``[batch]`` by their views ``[batch, (1 + M) * d]``."""
        ids, fine, *coarse = item_views.split(self.embedding_size, dim=1)
        anchors = self.id_head(ids)
        loss = self._match(anchors, self.fine_head(fine), items)
        for id_head, head, view in zip(self.coarse_id_heads, self.coarse_heads, coarse, strict=True):
            loss = loss + self._match(id_head(anchors), head(view), items)
        return loss

    def _match(self, anchors: Tensor, candidates: Tensor, items: Tensor) -> Tensor:
        """In-batch cross-entropy of matching rows by their dot products, mean over the batch."""
        anchors = anchors / self.contrast_temperature
        normalisers = sum_of_log_sum_exp(anchors, candidates, x_ids=items, y_ids=items)
        return (normalisers - (anchors * candidates).sum()) / len(anchors)


def _alternate(
    rows: Tensor, there: SparseOperator, back: SparseOperator, n_layers: int
) -> tuple[Tensor, Tensor]:
    """Sums of the even and of the odd ones of layers 0 to L, for what starts at one side of the graph.

    Horner's scheme: with A there and B back, the even sum is ``x + B A (x + B A (x + ...))``, the odd one A
    times such a sum.

    Args:
        rows: layer 0, ``[n, width]``, on this side.
        there, back: the graph from this side to the other one, and back.
        n_layers: L, at least 1.
    """
    even, odd = rows, there @ rows
    for layer in range(2, n_layers + 1):
        if layer % 2:
            odd = there @ even
        else:
            even = rows + back @ odd
    return even, odd


def _linear(width_in: int, width_out: int) -> nn.Linear:
    layer = nn.Linear(width_in, width_out)
    nn.init.xavier_uniform_(layer.weight)
    return layer
