"""MMGCN: multi-modal graph convolution network for personalised micro-video recommendation (ACM MM 2019)."""

from __future__ import annotations

import logging
from typing import ClassVar

import torch
import torch.nn.functional as F
from recbole.config import Config
from recbole.data.interaction import Interaction
from torch import Tensor, nn

from recbole_mm.data.dataset import MultimodalDataset
from recbole_mm.graph import SparseOperator
from recbole_mm.io.names import closest
from recbole_mm.model.base import MultimodalRecommender
from recbole_mm.model.projections import ModalityProjections
from recbole_mm.model.settings import ModelSettings
from recbole_mm.nn.gather import gather
from recbole_mm.nn.initial_values import xavier_normal_part
from recbole_mm.nn.loss import bpr_loss, mean_square
from recbole_mm.nn.normalise import l2_normalise
from recbole_mm.nn.user_embedding import id_table
from recbole_mm.registry import register_model
from recbole_mm.settings import Count, Layers, Weight

logger = logging.getLogger(__name__)
Nodes = tuple[Tensor, Tensor]  # rows of users [n_users, width] and of items [n_items, width]


class MMGCNSettings(ModelSettings):
    """MMGCN (ACM MM 2019), as in the public code this field compares with. Grids without a published best: the
    middle.
    """

    n_layers: Layers = 3
    """Graph layers of each modality; the last is read out."""
    content_widths: dict[str, Count] | None = {"visual": 256}
    """Width of a linear layer on the features, by modality; others enter as they are. The default is of features called
    visual: of others none passes a layer unless named here, and the log says so."""
    concat: bool = True
    """Whether messages and own vectors are concatenated; False is the paper's sum."""
    frozen_tables: bool = False
    """Whether IDs and preferences stay at their random start, as in public code."""
    reg_weight: Weight = 0.0001
    """Weight of the mean squares of ID rows and of the first preference table."""

    defaults: ClassVar = {"learning_rate": 0.001, "train_batch_size": 2048, "epochs": 1000}
    published: ClassVar = {"valid_metric": "Recall@20", "stopping_step": 20}


@register_model(
    settings=MMGCNSettings,
    paper="MMGCN: multi-modal graph convolution network for personalized recommendation of micro-video",
    year=2019,
    modalities="any number",
)
class MMGCN(MultimodalRecommender):
    r"""A graph network of its own for each modality, tied together by ID vectors that all of them add.

    From unit rows :math:`x_0^m = \mathrm{L2n}([p_u^m; f_i^m])`, per modality and layer, with
    :math:`\phi = \mathrm{LeakyReLU}`:

    .. math::
        h = \phi(D^{-1} A\, x W), \quad \hat x = \phi(U x + b) + E, \quad x \leftarrow \phi(V [h; \hat x] + c)

    and the mean of the last layers over the modalities as the vectors. ``concat: False`` is the paper's other
    branch, :math:`\phi(V h + c + \hat x)`. Loss: mean BPR, and ``reg_weight`` times the mean squares of the
    batch's ID rows and of the first modality's whole preference table.

    ``content_widths`` names the modalities whose features first pass a linear layer, and its width; the
    others enter as they are, which makes the width of their first layer that of the features. With a
    ``feature_adapter``, which works at the width of IDs, every modality passes a linear layer to that width.
    ``frozen_tables: True`` leaves IDs and preferences at their random start, as both public codes do.
    """

    settings: MMGCNSettings

    def __init__(self, config: Config, dataset: MultimodalDataset):
        super().__init__(config, dataset)
        self.n_layers: int = self.settings.n_layers
        self.reg_weight: float = self.settings.reg_weight
        self.frozen_tables: bool = self.settings.frozen_tables
        ids = xavier_normal_part(self.n_users + self.n_items - 2, self.embedding_size)
        self._add_table("user_embedding", id_table(self.n_users, self.embedding_size, ids))
        self._add_table("item_embedding", id_table(self.n_items, self.embedding_size, ids))
        self.content_projections = ModalityProjections(self, ())
        self.networks = nn.ModuleList()
        content_widths = self._content_widths()
        for name in self.modalities:
            width = self._add_content(name, content_widths)
            self._add_table(f"{name}_preference", id_table(self.n_users, width, nn.init.xavier_normal_))
            widths = [width] + [self.embedding_size] * (self.n_layers - 1)
            layers = (
                _Layer(width, self.embedding_size, self.settings.concat, first=not depth)
                for depth, width in enumerate(widths)
            )
            self.networks.append(nn.ModuleList(layers))
        self.user_mean = self.graph.user_mean_block()
        self.item_mean = self.graph.item_mean_block()

    def _content_widths(self) -> dict[str, int]:
        """Width of the first linear layer of each modality that has one; the log says which, as names decide it."""
        if self.adapters:
            return dict.fromkeys(self.modalities, self.embedding_size)
        given = self.settings.content_widths or {}
        widths = {name: width for name, width in given.items() if name in self.modalities}
        is_default = given == MMGCNSettings.model_fields["content_widths"].default
        for name in given.keys() - widths.keys() if not is_default else ():
            logger.warning("content_widths: '%s' is no modality in use%s", name, closest(name, self.modalities))
        shown = [f"{name} {widths[name]}" if name in widths else f"{name} as it is" for name in self.modalities]
        logger.info("content_widths: %s%s", ", ".join(shown), " (by default)" if is_default else "")
        return widths

    def _add_table(self, name: str, table: nn.Parameter) -> None:
        if self.frozen_tables:
            self.register_buffer(name, table.data)
        else:
            self.register_parameter(name, table)

    def _add_content(self, name: str, widths: dict[str, int]) -> int:
        """Make the modality's first linear layer, if it has one; gives the width of its first graph layer."""
        width = self.feature(name).shape[1]
        if name not in widths:
            self.content_projections.append(nn.Identity())
            return width
        self.content_projections.append(nn.Linear(width, widths[name]))
        return widths[name]

    def preference(self, modality: int) -> Tensor:
        """Users' preferences before normalisation, ``[n_users, width]``."""
        return getattr(self, f"{self.modalities[modality]}_preference")

    def encode(self) -> tuple[Tensor, Tensor]:
        """Users ``[n_users, d]`` and items ``[n_items, d]``."""
        representations = [self._represent(modality) for modality in range(len(self.modalities))]
        users, items = (sum(side) / len(side) for side in zip(*representations, strict=True))
        return users, items

    def _represent(self, modality: int) -> Nodes:
        """The last layer of one modality."""
        users = l2_normalise(self.preference(modality))
        items = l2_normalise(self.content_projections.project(self.modalities[modality]))
        for layer in self.networks[modality].children():
            users, items = (
                layer(self.user_mean, users, items, self.user_embedding),
                layer(self.item_mean, items, users, self.item_embedding),
            )
        return users, items

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """Mean BPR and the regulariser."""
        users, positives, negatives = self.batch(interaction)
        user_vectors, item_vectors = self.encode()
        (user,) = gather(user_vectors, users)
        positive, negative = gather(item_vectors, positives, negatives)
        ranking = bpr_loss((user * (positive - negative)).sum(dim=-1))
        items = gather(self.item_embedding, positives, negatives)
        squares = mean_square(*gather(self.user_embedding, users), self.preference(0)[1:])
        squares = squares + mean_square(*items) / len(items)
        return self.sum_of_terms(ranking=ranking, regularisation=self.reg_weight * squares)


class _Layer(nn.Module):
    """One graph layer of one modality, from ``[n, width]`` to ``[n, d]``, on either side of the graph.

    The fusion of the first layer starts Xavier normal as the other weights do, that of later ones as torch's.
    """

    def __init__(self, width: int, embedding_size: int, concat: bool, first: bool):
        super().__init__()
        self.concat = concat
        self.message = nn.Linear(width, width, bias=False)
        self.own = nn.Linear(width, embedding_size)
        self.fusion = nn.Linear(width + embedding_size if concat else width, embedding_size)
        for linear in (self.message, self.own, *([self.fusion] if first else [])):
            nn.init.xavier_normal_(linear.weight)

    def forward(self, mean: SparseOperator, nodes: Tensor, neighbours: Tensor, ids: Tensor) -> Tensor:
        """Next rows of `nodes`, ``[n, d]``; `mean` averages the rows of `neighbours` at each of them."""
        if len(neighbours) <= len(nodes):  # averaging and W commute: W is applied where there are fewer rows
            message = mean @ self.message(neighbours)
        else:
            message = self.message(mean @ neighbours)
        message = F.leaky_relu_(message)
        own = F.leaky_relu(self.own(nodes)).add_(ids)
        if not self.concat:
            return F.leaky_relu_(self.fusion(message).add_(own))
        from_message, from_own = self.fusion.weight.split([message.shape[1], own.shape[1]], dim=1)
        fused = torch.addmm(F.linear(own, from_own, self.fusion.bias), message, from_message.T)
        return F.leaky_relu_(fused)
