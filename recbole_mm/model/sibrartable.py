"""SiBraRTable: SiBraR with ID tables and one negative item, as DGMRec's repository compares with it (2025)."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from recbole.config import Config
from recbole.data.interaction import Interaction
from torch import Tensor, nn

from recbole_mm.data.dataset import MultimodalDataset
from recbole_mm.model.base import MultimodalRecommender
from recbole_mm.model.projections import ModalityProjections
from recbole_mm.model.settings import ModelSettings
from recbole_mm.nn.distinct import at_distinct_of_kinds
from recbole_mm.nn.gather import gather
from recbole_mm.nn.loss import bpr_loss
from recbole_mm.nn.normalise import l2_normalise
from recbole_mm.nn.sums import total
from recbole_mm.nn.user_embedding import id_table
from recbole_mm.registry import register_model
from recbole_mm.setting_conditions import acts_where
from recbole_mm.settings import Positive, Weight


class SiBraRTableSettings(ModelSettings):
    """SiBraR as in the code of DGMRec (SIGIR 2025), at its setting of Baby."""

    contrast_weight: Weight = 0.001
    """Weight of the contrast of the two drawn sources."""
    contrast_temperature: Annotated[Positive, acts_where("contrast_weight")] = 1.0
    """T, of the contrast."""
    trainable_features: bool = True
    """Whether a copy of the features is trained."""

    defaults: ClassVar = {"learning_rate": 0.001, "train_batch_size": 2048, "epochs": 1000}
    aliases: ClassVar = {"temperature": "contrast_temperature"}
    published: ClassVar = {"valid_metric": "Recall@20", "stopping_step": 20}


@register_model(
    settings=SiBraRTableSettings,
    paper="SiBraR as DGMRec compares with it: ID tables instead of interactions",
    year=2025,
    modalities="any number, and the item ID as one more",
    needs="features, trained as copies",
)
class SiBraRTable(MultimodalRecommender):
    r"""One network g for an item's ID vector and its modalities, two of which are drawn for each pair of a batch.

    .. math::
        e_i^0 = g(E_i), \quad e_i^m = \overline{g(W_m f_i^m + b_m)}, \quad
        y_{ui} = \langle E_u, \mathrm{mean}_m e_i^m \rangle

    with g two linear layers and a ReLU between them, rows of length 1 under the bar (not of the ID's). A pair's two
    draws 1 and 2 are those of its positive item i and its negative item k. Loss: mean BPR on the sums
    :math:`e^1 + e^2`, and ``contrast_weight`` times the mean of

    .. math::
        \ln(1 + e^{s_1 - s}) + \ln(1 + e^{s_2 - s}), \quad s = \langle e^1_i, e^2_i \rangle / T, \;
        s_1 = \langle e^1_i, e^2_k \rangle / T, \; s_2 = \langle e^2_i, e^1_k \rangle / T
    """

    settings: SiBraRTableSettings
    id_only_model = "BPR"

    def __init__(self, config: Config, dataset: MultimodalDataset):
        super().__init__(config, dataset)
        size = self.embedding_size
        self.user_embedding = id_table(self.n_users, size)
        self.item_embedding = id_table(self.n_items, size)
        self.projections = ModalityProjections(self)
        self.branch = nn.Sequential(nn.Linear(size, size), nn.ReLU(), nn.Linear(size, size))
        self.n_sources = 1 + len(self.modalities)

    def item_vectors(self, source: int, items: Tensor | None = None) -> Tensor:
        """``e^m`` of some distinct items ``[n]``, or of all, ``[n, d]``; source 0 is the ID."""
        if source == 0:
            return self.branch(self.item_embedding if items is None else F.embedding(items, self.item_embedding))
        return l2_normalise(self.branch(self.projections.project(self.projections.names[source - 1], items)))

    def encode(self) -> tuple[Tensor, Tensor]:
        """Users ``[n_users, d]`` and the mean over the items' sources ``[n_items, d]``."""
        items = total(self.item_vectors(source) for source in range(self.n_sources))
        return self.user_embedding, items / self.n_sources

    def draw_sources(self, n_pairs: int) -> Tensor:
        """Two different sources of each pair, uniformly, ``[n_pairs, 2]``."""
        return torch.rand(n_pairs, self.n_sources, device=self.user_embedding.device).topk(2).indices

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """BPR and the contrast, on sources drawn here."""
        users, positives, negatives = self.batch(interaction)
        return self.loss_of(users, positives, negatives, self.draw_sources(len(users)))

    def loss_of(self, users: Tensor, positives: Tensor, negatives: Tensor, sources: Tensor) -> Tensor:
        """The loss of given draws; ids ``[batch]``, sources ``[batch, 2]``."""
        items = torch.stack([positives, negatives])[..., None].expand(2, *sources.shape)
        views = at_distinct_of_kinds(self.item_vectors, sources.expand_as(items), items, self.n_sources)
        positive, negative = views.view(*items.shape, -1)
        (user,) = gather(self.user_embedding, users)
        terms = {"ranking": bpr_loss((user * (positive - negative).sum(dim=1)).sum(dim=-1))}
        if self.settings.contrast_weight:
            own = (positive[:, 0] * positive[:, 1]).sum(dim=-1, keepdim=True)
            other = (positive * negative.flip(1)).sum(dim=-1)
            contrast = F.softplus((other - own) / self.settings.contrast_temperature).sum(dim=1).mean()
            terms["contrast"] = self.settings.contrast_weight * contrast
        return self.sum_of_terms(**terms)
