"""BM3: bootstrap latent representations for multimodal recommendation (WWW 2023)."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from recbole.config import Config
from recbole.data.interaction import Interaction
from torch import Tensor, nn

from recbole_mm.data.dataset import MultimodalDataset
from recbole_mm.model.base import MultimodalRecommender
from recbole_mm.model.projections import ModalityProjections
from recbole_mm.model.settings import ModelSettings
from recbole_mm.nn.dropout import dropout
from recbole_mm.nn.loss import norm_per_row
from recbole_mm.nn.normalise import l2_normalise
from recbole_mm.nn.propagation import light_gcn
from recbole_mm.nn.user_embedding import id_table
from recbole_mm.registry import register_model
from recbole_mm.settings import Layers, Rate, Weight

_SMALLEST_NORM = 1e-8  # below it a vector counts as shorter, as in torch's cosine similarity


class BM3Settings(ModelSettings):
    """BM3 (WWW 2023), its authors' best settings on Baby. Best elsewhere: Sports reg_weight 0.01; Electronics 2
    layers, dropout 0.3.
    """

    n_layers: Layers = 1
    """Layers over the user-item graph."""
    dropout: Rate = 0.5
    """Share of a target's entries set to zero in training."""
    modality_loss_weight: Weight = 2.0
    """Weight of the losses within and across modalities."""
    reg_weight: Weight = 0.1
    """Weight of the norms of all users and items, over the number of items."""
    trainable_features: bool = True
    """Whether a copy of the features is trained."""

    defaults: ClassVar = {
        "learning_rate": 0.001, "train_batch_size": 2048, "epochs": 1000, "train_neg_sample_args": None,
    }
    published: ClassVar = {"valid_metric": "Recall@20", "stopping_step": 20}


@register_model(
    settings=BM3Settings,
    paper="Bootstrap latent representations for multi-modal recommendation",
    year=2023,
    needs="features, trained as copies; no negative items",
)
class BM3(MultimodalRecommender):
    r"""LightGCN without negative items: each view of an interaction predicts a perturbed copy of another.

    .. math::
        [u; i'] = \mathrm{mean}_{l=0..L} G^l [E_u; E_i], \quad i = i' + E_i, \quad x^m = W^m f^m + b^m

    With the predictor q (one linear layer), targets :math:`\bar{z} = sg(\mathrm{dropout}(z))` and
    :math:`C(a, b) = 1 - \cos(a, b)`, as means over the batch's pairs (u, i):

    .. math::
        L = C(q(u), \bar{i}) + C(q(i), \bar{u})
          + w \sum_m [C(q(x^m_i), \bar{i}) + C(q(x^m_i), \bar{x}^m_i)] + \lambda \frac{\|U\| + \|I\|}{n_I}

    with the norms of the whole tables of u and i. Score: ``<q(u), q(i)>``. The sum runs over any number of
    modalities; the paper has two.
    """

    settings: BM3Settings

    def __init__(self, config: Config, dataset: MultimodalDataset):
        super().__init__(config, dataset)
        self.n_layers: int = self.settings.n_layers
        self.dropout: float = self.settings.dropout
        self.modality_loss_weight: float = self.settings.modality_loss_weight
        self.reg_weight: float = self.settings.reg_weight
        size = self.embedding_size
        self.user_embedding = id_table(self.n_users, size)
        self.item_embedding = id_table(self.n_items, size)
        self.predictor = nn.Linear(size, size)
        self.projections = ModalityProjections(self)
        for layer in (self.predictor, *self.projections):
            nn.init.xavier_normal_(layer.weight)
        self.full_graph = self.graph.symmetric()

    def encode(self) -> tuple[Tensor, Tensor]:
        """Users u ``[n_users, d]`` and items i with their ego term ``[n_items, d]``, before the predictor."""
        return self.behaviour_tables()

    def behaviour_tables(self) -> tuple[Tensor, Tensor]:
        """All of :meth:`encode`, which reads no features."""
        nodes = torch.cat([self.user_embedding, self.item_embedding])
        nodes = light_gcn(self.full_graph, nodes, self.n_layers)
        users, items = nodes.split([self.n_users, self.n_items])
        return users, items + self.item_embedding

    def score_tables(self) -> tuple[Tensor, Tensor]:
        """Both sides through the predictor."""
        users, items = self.encode()
        return self.predictor(users), self.predictor(items)

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """The bootstrap losses of the batch's pairs and the norms of the tables.

        A user or item is perturbed and projected once, however often it is in the batch, as if whole tables
        were perturbed before the batch is looked up.
        """
        users, user_place = torch.unique(interaction[self.USER_ID], return_inverse=True)
        items, item_place, counts = torch.unique(
            interaction[self.ITEM_ID], return_inverse=True, return_counts=True
        )
        user_table, item_table = self.encode()
        user, item = F.embedding(users, user_table), F.embedding(items, item_table)
        item_target = self._target(item)
        terms = {
            "user_bootstrap": _distance(self._online(user), item_target, user_place, item_place),
            "item_bootstrap": _distance(self._online(item), self._target(user), item_place, user_place),
        }
        if self.modality_loss_weight:
            share_of_batch = counts.to(item.dtype) / len(item_place)
            for name in self.modalities:
                feature = self.projections.project(name, items)
                targets = item_target + self._target(feature)  # of the two distances, which are linear in them
                cosines = torch.linalg.vecdot(self._online(feature), targets)
                terms[f"modality_{name}"] = self.modality_loss_weight * (2 - (share_of_batch * cosines).sum())
        terms["regularisation"] = self.reg_weight * norm_per_row(user_table[1:], item_table[1:])
        return self.sum_of_terms(**terms)

    def _online(self, rows: Tensor) -> Tensor:
        return l2_normalise(self.predictor(rows), _SMALLEST_NORM)

    def _target(self, rows: Tensor) -> Tensor:
        return l2_normalise(dropout(rows.detach(), self.dropout, self.training), _SMALLEST_NORM)


def _distance(online: Tensor, target: Tensor, online_places: Tensor, target_places: Tensor) -> Tensor:
    """One minus the mean cosine of the batch's pairs, from unit rows and the places ``[batch]`` of both in them."""
    pairs = F.embedding(online_places, online), F.embedding(target_places, target)
    return 1 - torch.linalg.vecdot(*pairs).mean()
