"""The base class of late-fusion recommenders: one rating per modality, and their weighted sum."""

from __future__ import annotations

import math

from torch import Tensor

from recbole_mm.model.base import MultimodalRecommender, gather
from recbole_mm.nn.loss import bpr_loss, weak_modality_loss


class LateFusionRecommender(MultimodalRecommender):
    """A recommender with a rating ``y^m(u,i) = <U[u,m], V[i,m]>`` per modality and their weighted sum as the score.

    :meth:`encode` gives ``U [n_users, M, d]`` and ``V [n_items, M, d]``; :meth:`item_weights` the weights
    ``w_i^m [n_items, M]``, or None where the ratings are summed.

    Attributes:
        rated_modalities: names of the M modalities, in the order of the middle axis.
        weak_weight: weight of POWERec's weak-modality loss; 0 leaves it out.
        loss_base: base of the logarithm in its BPR.
    """

    takes_late_fusion = True
    rated_modalities: list[str]
    weak_weight: float = 0.0
    loss_base: float = math.e

    def calculate_loss(self, interaction) -> Tensor:
        """BPR of the summed ratings, BPR of each pair's weakest modality, and the model's regulariser."""
        ids = self.batch(interaction)
        return self.ranking_loss(*self.batch_vectors(*ids)) + self.regularisation(*ids)

    def ranking_loss(self, user: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        """BPR and weak-modality BPR of a batch's vectors, ``[batch, M, d]`` each."""
        margins = (user * (positive - negative)).sum(dim=-1)
        loss = bpr_loss(margins.sum(dim=-1), self.loss_reduction, self.loss_base)
        if self.weak_weight:
            loss = loss + self.weak_weight * weak_modality_loss(margins, self.loss_reduction, self.loss_base)
        return loss

    def regularisation(self, users: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
        """The model's own weighted regulariser for the ids of a batch, each ``[batch]``; a scalar."""
        raise NotImplementedError

    def item_weights(self) -> Tensor | None:
        """Weight of each modality's rating per item, ``[n_items, M]``; None means 1."""
        return None

    def score_tables(self) -> tuple[Tensor, Tensor]:
        """Users and weighted items with their modalities side by side, ``[n, M * d]``."""
        users, items = self.encode()
        weights = self.item_weights()
        if weights is not None:
            items = items * weights.unsqueeze(-1)
        return users.flatten(1), items.flatten(1)

    def batch_vectors(self, users: Tensor, positives: Tensor, negatives: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """``U[u]``, ``V[i]`` and ``V[k]`` of a training batch, ``[batch, M, d]`` each, from the ids, ``[batch]`` each.

        The rows of :meth:`encode`; a model that need not compute all rows for them overrides this.
        """
        user_vectors, item_vectors = self.encode()
        rows = (*gather(user_vectors.flatten(1), users), *gather(item_vectors.flatten(1), positives, negatives))
        return tuple(row.view(len(users), *item_vectors.shape[1:]) for row in rows)

    def modality_ratings(self, users: Tensor, items: Tensor) -> Tensor:
        """Unweighted rating of each modality for user-item pairs, ``[batch, M]``."""
        user_vectors, item_vectors = self.encode()
        return (user_vectors[users] * item_vectors[items]).sum(dim=-1)

    @staticmethod
    def modality_margins(user_vectors: Tensor, item_vectors: Tensor, users, positives, negatives) -> Tensor:
        """``d^m = y^m_ui - y^m_uk`` of a batch, ``[batch, M]``, from the vectors that :meth:`encode` gave."""
        n_modalities = user_vectors.shape[1]
        (user,) = gather(user_vectors.flatten(1), users)
        positive, negative = gather(item_vectors.flatten(1), positives, negatives)
        return (user * (positive - negative)).view(len(users), n_modalities, -1).sum(dim=-1)
