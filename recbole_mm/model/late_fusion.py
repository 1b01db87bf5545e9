"""Late fusion: one rating per modality, and their weighted sum as the score."""

from __future__ import annotations

import math
from collections.abc import Callable

from recbole.config import Config
from recbole.data.interaction import Interaction
from torch import Tensor, nn

from recbole_mm.data.dataset import MultimodalDataset
from recbole_mm.model.base import MultimodalRecommender
from recbole_mm.model.recommender import Recommender
from recbole_mm.model.settings import LateFusionSettings
from recbole_mm.nn.gather import gather
from recbole_mm.nn.loss import bpr_loss, weak_modality_loss
from recbole_mm.nn.user_embedding import UserEmbedding
from recbole_mm.registry import MODELS

LATE_FUSION_KEYS = ("weak_weight", "user_embedding")


def late_fusion_models() -> list[str]:
    """Names of the models that rate each modality by themselves, not through a backbone."""
    return [name for name in MODELS if issubclass(MODELS.get(name), LateFusionRecommender)]


def no_late_fusion(model: str, key: str) -> str:
    """Why a model cannot have a key of POWERec's components, and which can."""
    can = ", ".join(late_fusion_models())
    return f"{key}: {model} has no rating per modality, which this key needs; those that have: {can}"


class ModalityRatings(Recommender):
    """A recommender with a rating ``y^m(u,i) = <U[u,m], V[i,m]>`` per modality.

    ``encode`` gives ``U [n_users, M, d]`` and ``V [n_items, M, d]``; :meth:`item_weights` the weights
    ``w_i^m [n_items, M]``, or None where the ratings are summed.

    Attributes:
        rated_modalities: names of the M modalities, in the order of the middle axis.
    """

    rated_modalities: list[str]

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

    def modality_ratings(self, users: Tensor, items: Tensor) -> Tensor:
        """Unweighted rating of each modality for user-item pairs, ``[batch, M]``."""
        user_vectors, item_vectors = self.encode()
        return (user_vectors[users] * item_vectors[items]).sum(dim=-1)

    def score_parts(self, users: Tensor, items: Tensor) -> Tensor:
        """What each modality adds to the score of user-item pairs, ``[batch, M]``: its rating times its weight."""
        ratings, weights = self.modality_ratings(users, items), self.item_weights()
        return ratings if weights is None else ratings * weights[items]


class LateFusionRecommender(ModalityRatings, MultimodalRecommender):
    """A multimodal recommender with a rating per modality, with POWERec's components.

    It can be MARGO's backbone. Its settings derive from :class:`~recbole_mm.model.settings.LateFusionSettings`.

    Attributes:
        rated_modalities: those of the features, unless the model names others.
        weak_weight: weight of POWERec's weak-modality loss; 0 leaves it out.
        loss_base: base of the logarithm in its BPR.
    """

    settings: LateFusionSettings
    settings_class = LateFusionSettings
    loss_base: float = math.e

    def __init__(self, config: Config, dataset: MultimodalDataset):
        super().__init__(config, dataset)
        if not isinstance(self.settings, LateFusionSettings):
            raise ValueError(
                f"{type(self).__name__} is a late-fusion model: derive {type(self.settings).__name__} from "
                f"recbole_mm.model.settings.LateFusionSettings"
            )
        self.weak_weight: float = self.settings.weak_weight
        self.rated_modalities = list(self.modalities)

    def user_tables(self, initialise: Callable[[Tensor], Tensor] = nn.init.xavier_uniform_) -> UserEmbedding:
        """The configured user tables of all rated modalities; `initialise` fills a table in place."""
        settings = self.settings
        return UserEmbedding(
            self.n_users,
            self.embedding_size,
            len(self.rated_modalities),
            settings.user_embedding,
            settings.prompt_num,
            settings.prompt_pooling,
            initialise,
            settings.prompt_scale,
        )

    def diagnostics(self) -> dict[str, float]:
        """The user tables'."""
        own = getattr(self, "user_embedding", None)
        return own.diagnostics() if isinstance(own, UserEmbedding) else {}

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """BPR of the summed ratings, BPR of each pair's weakest modality, and the model's regulariser."""
        ids = self.batch(interaction)
        ranking, regularisation = self.ranking_loss(*self.batch_vectors(*ids)), self.regularisation(*ids)
        self.record(loss_regularisation=regularisation)
        return ranking + regularisation

    def ranking_loss(self, user: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        """BPR and weak-modality BPR of a batch's vectors, ``[batch, M, d]`` each."""
        margins = (user * (positive - negative)).sum(dim=-1)
        terms = {"ranking": bpr_loss(margins.sum(dim=-1), self.loss_reduction, self.loss_base)}
        if self.weak_weight:
            weak = weak_modality_loss(margins, self.loss_reduction, self.loss_base)
            terms["weak_modality"] = self.weak_weight * weak
        return self.sum_of_terms(**terms)

    def regularisation(self, users: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
        """The model's own weighted regulariser for the ids of a batch, each ``[batch]``; a scalar."""
        raise NotImplementedError

    def batch_vectors(self, users: Tensor, positives: Tensor, negatives: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """``U[u]``, ``V[i]`` and ``V[k]`` of a training batch, ``[batch, M, d]`` each, from the ids, ``[batch]`` each.

        The rows of ``encode``; a model that need not compute all rows for them overrides this.
        """
        user_vectors, item_vectors = self.encode()
        (user,) = gather(user_vectors.flatten(1), users)
        positive, negative = gather(item_vectors.flatten(1), positives, negatives)
        shape = (len(users), *item_vectors.shape[1:])
        return user.view(shape), positive.view(shape), negative.view(shape)
