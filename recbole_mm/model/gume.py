"""GUME: graphs and user modalities enhancement for long-tail multimodal recommendation (CIKM 2024)."""

from __future__ import annotations

from itertools import combinations
from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from recbole.config import Config
from recbole.data.interaction import Interaction
from torch import Tensor, nn

from recbole_mm.data.dataset import MultimodalDataset
from recbole_mm.graph import SparseOperator, agreeing_neighbors, enhanced_graph, joins_nothing, tell_of_no_edges
from recbole_mm.model.mgcn import MGCN, MGCNSettings
from recbole_mm.nn.distinct import at_distinct
from recbole_mm.nn.loss import bpr_loss, half_squared_per_batch, info_nce
from recbole_mm.nn.moments import moment_gap, moments
from recbole_mm.nn.perturbation import perturb, uniform_noise
from recbole_mm.nn.propagation import light_gcn
from recbole_mm.nn.sums import total
from recbole_mm.nn.user_embedding import id_table
from recbole_mm.registry import register_model
from recbole_mm.setting_conditions import acts_where
from recbole_mm.settings import Layers, Positive, Weight


class GUMESettings(MGCNSettings):
    """GUME (CIKM 2024): its authors' settings for Baby. Sports and Clothing: 1 item layer, contrast_temperature 0.2;
    Sports: align_weight 0.01; Clothing: 0.001, user_contrast_weight 0.1, user_contrast_temperature 0.2.
    """

    n_layers: Layers = 3
    """Layers L on the user-item graph with its item edges."""
    n_item_layers: Layers = 2
    """Layers on each modality's item graph."""
    contrast_weight: Weight = 0.01
    """Weight of the InfoNCE of side information and content."""
    contrast_temperature: Positive = 0.4
    """Temperature of that."""
    user_contrast_weight: Weight = 0.01
    """Weight of the InfoNCE of users' extended interest and side information, and of the noise terms."""
    user_contrast_temperature: Annotated[Positive, acts_where("user_contrast_weight")] = 0.1
    """Temperature of those."""
    align_weight: Weight = 0.1
    """Weight of the gaps between the moments of the modalities' views."""
    reg_weight: Weight = 1e-05
    """Weight of half the squares of the final rows, over the batch size."""
    extended_reg_weight: Weight = 0.1
    """The same of the positive items' rows of extended interest."""
    item_edges_symmetric: bool = False
    """Whether an item that has another as a neighbour in all modalities is the other's neighbour as well."""
    extended_items: Literal["propagated", "raw"] = "propagated"
    """Items that extended interest is propagated with: behind the item graphs, or before them."""
    noise_terms: Annotated[bool, acts_where("user_contrast_weight")] = True
    """Whether noisy views of users are contrasted with one another."""

    published: ClassVar = {"valid_metric": "Recall@20", "stopping_step": 20}


@register_model(
    settings=GUMESettings,
    paper="GUME: graphs and user modalities enhancement for long-tail multimodal recommendation",
    year=2024,
    modalities="any number",
    needs="features, trained as copies; item graphs are built and cached",
)
class GUME(MGCN):
    r"""MGCN on a graph that joins items alike in all modalities, with users' extended interest beside it in the loss.

    With :math:`z^m, S^m` and :math:`side` as in :class:`~recbole_mm.model.mgcn.MGCN`, G the user-item graph with an
    edge from an item to each that is among its k nearest in all modalities
    (:func:`~recbole_mm.graph.enhanced.enhanced_graph`), and R its user-item block:

    .. math::
        X^m = [R\, (S^m)^{L'} z^m;\ (S^m)^{L'} z^m], \quad
        C = \mathrm{mean}_l G^l [E_u; E_i], \quad [u; i] = C + side(C, X) \\
        T = \tfrac{1}{M} \sum_m \mathrm{mean}_l G^l [U^m;\ (S^m)^{L'} z^m]

    with a further user table :math:`U^m` per modality. T is in the loss only, which has besides mean BPR

    .. math::
        & r_1 \tfrac{1}{2B} (\|u\|^2 + \|i\|^2 + \|k\|^2) + r_2 \tfrac{1}{2B} \|T_i\|^2
            + \lambda_{vt} \sum_{m < n} \mathrm{MOM}(X^m, X^n) \\
        & + \lambda_{bm} \big( \mathrm{NCE}(side_u, C_u) + \mathrm{NCE}(side_i, C_i) \big)
            + \lambda_{um} \big( \mathrm{NCE}(T_u, side_u) + \mathrm{NOISE}(side_u) + \mathrm{NOISE}(T_u) \big)

    of the batch's users u and positive items i, with B the configured batch size, MOM the gap between mean and variance
    of all entries, and NOISE the InfoNCE of two views of the users, each moved by 0.1.

    Faithful to: the authors' released code at its k of 10, whose lists of neighbours are cut in tens whatever k is, and
    kept on disk whatever the features are. ``item_edges_symmetric``, ``extended_items`` and ``noise_terms`` are the
    readings left open. It needs two modalities; here any number: item edges where all agree, T their mean, and MOM
    over all pairs. The mean over modalities is taken before G, which is linear.
    """

    settings: GUMESettings
    item_graphs_name = None  # not to be rebuilt alone: the user-item graph is made of them too

    def __init__(self, config: Config, dataset: MultimodalDataset):
        super().__init__(config, dataset)
        self.n_item_layers: int = self.settings.n_item_layers
        self.extended_users = nn.ParameterList(id_table(self.n_users, self.embedding_size) for _ in self.modalities)
        self.item_edges = agreeing_neighbors(self.item_graphs, self.settings.item_edges_symmetric)
        agreed = "the graph of items that are neighbours in all modalities"
        tell_of_no_edges(joins_nothing(self.item_edges), agreed, "set more knn_k, or fewer modalities")
        self.full_graph = enhanced_graph(self.graph, self.item_edges)
        block = self.full_graph.to_scipy()[: self.n_users, self.n_users :]
        self.user_item_block = SparseOperator.from_scipy(block)

    def item_views(self) -> Tensor:
        """``(S^m)^L' z^m``, modalities side by side, ``[n_items, M * d]``; a user's views are R times them."""
        return torch.cat(self._smoothed(self.purify()), dim=1)

    def _smoothed(self, purified: list[Tensor]) -> list[Tensor]:
        pairs = zip(self.item_graphs, purified, strict=True)
        return [light_gcn(graph, nodes, self.n_item_layers, "last") for graph, nodes in pairs]

    def draw_noise(self, users: Tensor) -> Tensor:
        """Noise in [0, 1) of some distinct users ``[n]``, ``[n, d]``: twice for side information, then twice for T."""
        return uniform_noise(self.user_embedding.detach()[users])

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """BPR, the regularisers, the alignment and the contrasts, of one propagation."""
        ids = self.batch(interaction)
        purified = self.purify()
        smoothed = self._smoothed(purified)
        item_views = torch.cat(smoothed, dim=1)
        user_views = self.user_item_block @ item_views
        tables = self._content_and_extended(smoothed if self.settings.extended_items == "propagated" else purified)
        parts = self._batch_parts(ids, tables, (user_views, item_views))
        terms = self._ranking(*parts)
        if self.settings.align_weight and len(self.modalities) > 1:
            terms["alignment"] = self.settings.align_weight * self.alignment(user_views, item_views)
        return self.sum_of_terms(**terms, **self._contrasts(ids[0], ids[1], *parts[:2]))

    def _content_and_extended(self, items: list[Tensor]) -> tuple[Tensor, Tensor]:
        """C and T side by side, of users ``[n_users, 2 d]`` and items ``[n_items, 2 d]``."""
        users = torch.cat([self.user_embedding, torch.stack(list(self.extended_users)).mean(dim=0)], dim=1)
        nodes = torch.cat([users, torch.cat([self.item_embedding, torch.stack(items).mean(dim=0)], dim=1)])
        propagated_users, propagated_items = light_gcn(self.full_graph, nodes, self.n_layers).split(
            [self.n_users, self.n_items]
        )
        return propagated_users, propagated_items

    def _batch_parts(
        self, ids: tuple[Tensor, Tensor, Tensor], tables: tuple[Tensor, Tensor], views: tuple[Tensor, Tensor]
    ) -> list[tuple[Tensor, Tensor, Tensor]]:
        """C, side and T, ``[batch, d]`` each, of users, positive and negative items; each distinct row fused once."""

        def rows(table: Tensor, view: Tensor, *own: Tensor) -> tuple[Tensor, ...]:
            def of(some: Tensor) -> Tensor:
                content, extended = F.embedding(some, table).chunk(2, dim=1)
                return torch.cat([content, self._side(content, F.embedding(some, view)), extended], dim=1)

            return at_distinct(of, *own)

        both = [*rows(tables[0], views[0], ids[0]), *rows(tables[1], views[1], *ids[1:])]
        return [(content, side, extended) for content, side, extended in (row.chunk(3, dim=1) for row in both)]

    def _ranking(self, *parts: tuple[Tensor, Tensor, Tensor]) -> dict[str, Tensor]:
        """Mean BPR of the final rows, and both regularisers."""
        user, positive, negative = (content + side for content, side, _ in parts)
        ranking = bpr_loss((user * (positive - negative)).sum(dim=-1))
        squares = half_squared_per_batch(self.train_batch_size, user, positive, negative)
        extended = half_squared_per_batch(self.train_batch_size, parts[1][2])
        return {
            "ranking": ranking,
            "regularisation": self.reg_weight * squares,
            "extended_regularisation": self.settings.extended_reg_weight * extended,
        }

    def alignment(self, user_views: Tensor, item_views: Tensor) -> Tensor:
        """Gaps between the moments of the modalities' views, ``[n, M * d]`` of users and items, over all pairs."""
        pairs = zip(*(views[1:].split(self.embedding_size, dim=1) for views in (user_views, item_views)), strict=True)
        of_views = [moments(*pair) for pair in pairs]
        gaps = (moment_gap(first, other) for first, other in combinations(of_views, 2))
        return sum(gaps, start=user_views.new_zeros(()))

    def _contrasts(
        self,
        users: Tensor,
        positives: Tensor,
        user: tuple[Tensor, Tensor, Tensor],
        positive: tuple[Tensor, Tensor, Tensor],
    ) -> dict[str, Tensor]:
        """The weighted contrasts, from C, side and T of the batch's users and positive items."""
        terms = {}
        if self.contrast_weight:
            contrasts = (
                info_nce(side, content, self.contrast_temperature, (own, own))
                for (content, side, _), own in ((user, users), (positive, positives))
            )
            terms["contrast"] = self.contrast_weight * total(contrasts)
        if self.settings.user_contrast_weight:
            _, side, extended = user
            contrast = info_nce(extended, side, self.settings.user_contrast_temperature, (users, users))
            if self.settings.noise_terms:
                contrast = contrast + sum(self._noise_term(rows, users) for rows in (side, extended))
            terms["user_contrast"] = self.settings.user_contrast_weight * contrast
        return terms

    def _noise_term(self, rows: Tensor, users: Tensor) -> Tensor:
        """InfoNCE of two noisy views of the users' rows ``[batch, d]``; a user has one noise in each."""
        distinct, place = users.unique(return_inverse=True)
        first, second = (perturb(rows, F.embedding(place, self.draw_noise(distinct))) for _ in range(2))
        return info_nce(first, second, self.settings.user_contrast_temperature, (users, users))
