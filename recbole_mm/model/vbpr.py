"""VBPR: visual Bayesian personalised ranking from implicit feedback (AAAI 2016), over any modalities."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar

import torch
from recbole.config import Config
from recbole.data.interaction import Interaction
from torch import Tensor, nn

from recbole_mm.data.dataset import MultimodalDataset
from recbole_mm.model.late_fusion import LateFusionRecommender
from recbole_mm.model.projections import JointProjection
from recbole_mm.model.settings import LateFusionSettings
from recbole_mm.nn.distinct import at_distinct
from recbole_mm.nn.gather import gather
from recbole_mm.nn.loss import norm_per_row
from recbole_mm.nn.user_embedding import id_table
from recbole_mm.registry import register_model
from recbole_mm.settings import Weight


class VBPRSettings(LateFusionSettings):
    """VBPR (AAAI 2016) in the form this field compares with: text beside images, no biases. reg_weight: middle of the
    grid.
    """

    reg_weight: Weight = 0.01
    """Weight of the norms of the batch's user rows and item vectors."""

    defaults: ClassVar = {"learning_rate": 0.001, "train_batch_size": 2048, "epochs": 1000}
    published: ClassVar = {"valid_metric": "Recall@20", "stopping_step": 20}


@register_model(
    settings=VBPRSettings,
    paper="VBPR: visual Bayesian personalized ranking from implicit feedback",
    year=2016,
    modalities="any number, concatenated",
)
class VBPR(LateFusionRecommender):
    r"""Matrix factorisation by ID and, beside it, by one linear map of all modalities' features.

    .. math::
        y_{ui} = \langle P_u, [E_i ; W\,[f_i^1; f_i^2; \dots] + b] \rangle
               = y^{id}_{ui} + y^{content}_{ui}, \quad P_u = [P_u^{id}; P_u^{content}]

    The form that this field compares with: no biases of users, items or pixels, and text beside the images.
    Loss: mean BPR and ``reg_weight`` times the norms of the batch's rows of P and of the two items' vectors,
    projected content included. (Code with RecBole's BPRLoss adds 1e-10 inside the logarithm: a margin below -23
    then has no gradient.) The two ratings take POWERec's prompts (``user_embedding``) and weak-modality
    loss (``weak_weight``).
    """

    settings: VBPRSettings
    id_only_model = "BPR"

    def __init__(self, config: Config, dataset: MultimodalDataset):
        super().__init__(config, dataset)
        self.rated_modalities = ["id", "content"]
        self.reg_weight: float = self.settings.reg_weight
        size = self.embedding_size
        kind = self.settings.user_embedding
        initialise = _as_one_table(2 * size) if kind == "separate" else nn.init.xavier_uniform_
        self.user_embedding = self.user_tables(initialise)
        self.item_embedding = id_table(self.n_items, size)
        self.content_projection = JointProjection(self)
        nn.init.xavier_normal_(self.content_projection.weight)
        nn.init.zeros_(self.content_projection.bias)

    @property
    def projected_features(self) -> list[str]:
        """One: all modalities are projected together, and a single one by itself."""
        return self.modalities if len(self.modalities) == 1 else ["content"]

    def content(self, items: Tensor | None = None) -> Tensor:
        """Projected and adapted content of some distinct items or of all, ``[n, d]``."""
        return self.content_projection.project(self.projected_features[0], items)

    def behaviour_tables(self) -> tuple[Tensor, Tensor]:
        """The ID halves."""
        return self.user_embedding()[:, 0], self.item_embedding

    @property
    def id_tables(self) -> tuple[Tensor, Tensor]:
        """The ID halves."""
        return self.behaviour_tables()

    def modality_vectors(self, modality: str, features: Tensor) -> Tensor:
        """What one modality adds to the content, with the bias."""
        return self.content_projection.share(modality, features)

    def encode(self) -> tuple[Tensor, Tensor]:
        """Users ``[n_users, 2, d]`` and items ``[n_items, 2, d]``: by ID and by content."""
        return self.user_embedding(), torch.stack([self.item_embedding, self.content()], dim=1)

    def batch_vectors(
        self, users: Tensor, positives: Tensor, negatives: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """``U[u]``, ``V[i]`` and ``V[k]``, ``[batch, 2, d]`` each; only the batch's items are projected."""
        user = self.user_embedding.vectors(self.user_embedding.rows(users))
        positive, negative = self._item_vectors(positives, negatives)
        return user, positive, negative

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """Mean BPR, weak-modality BPR and the regulariser, with one projection and one gather for all of them."""
        users, *items = self.batch(interaction)
        rows, (positive, negative) = self.user_embedding.rows(users), self._item_vectors(*items)
        ranking = self.ranking_loss(self.user_embedding.vectors(rows), positive, negative)
        norms = self._norms(rows, positive, negative)
        self.record(loss_regularisation=norms)
        return ranking + norms

    def regularisation(self, users: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
        """Weighted norms of the batch's user rows, without prompts, and item vectors, over its size."""
        return self._norms(self.user_embedding.rows(users), *self._item_vectors(positives, negatives))

    def _norms(self, rows: list[Tensor], positive: Tensor, negative: Tensor) -> Tensor:
        return self.reg_weight * norm_per_row(torch.cat(rows, dim=1), positive, negative)

    def _item_vectors(self, *items: Tensor) -> list[Tensor]:
        """Item vectors by ID and by content for several id vectors, ``[batch, 2, d]`` each."""
        rows = zip(gather(self.item_embedding, *items), at_distinct(self.content, *items), strict=True)
        return [torch.stack(pair, dim=1) for pair in rows]


def _as_one_table(width: int) -> Callable[[Tensor], Tensor]:
    """Xavier uniform values for tables that stand side by side as one table of `width` columns."""

    def initialise(table: Tensor) -> Tensor:
        bound = math.sqrt(6 / (table.shape[0] + width))
        return nn.init.uniform_(table, -bound, bound)

    return initialise
