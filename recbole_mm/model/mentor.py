"""MENTOR: multi-level self-supervised learning for multimodal recommendation (AAAI 2025)."""

from __future__ import annotations

from itertools import combinations
from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from recbole.config import Config
from recbole.data.interaction import Interaction
from torch import Tensor, nn

from recbole_mm.data.dataset import MultimodalDataset
from recbole_mm.model.dual_graph import DualGraphRecommender
from recbole_mm.model.settings import LateFusionSettings
from recbole_mm.nn.dropout import dropout
from recbole_mm.nn.dual_graph import NodeEncoder, fusion_weights, propagate_modalities
from recbole_mm.nn.gather import gather
from recbole_mm.nn.loss import info_nce, mean_square
from recbole_mm.nn.moments import moment_gap, moments
from recbole_mm.nn.normalise import l2_normalise
from recbole_mm.nn.perturbation import perturb, uniform_noise
from recbole_mm.nn.propagation import light_gcn
from recbole_mm.nn.sums import total
from recbole_mm.registry import register_model
from recbole_mm.setting_conditions import acts_where
from recbole_mm.settings import Count, Layers, Positive, Rate, Weight, Weights


class MENTORSettings(LateFusionSettings):
    """MENTOR (AAAI 2025): the values that its authors' grid holds fixed, and the lowest of the others; no best ones
    are published. Masking and contrast act on the recommendations with feature_mask_gradient and shared_twins True.
    """

    n_layers: Layers = 2
    """Layers on the user-item graph, whose sum with layer 0 is read out."""
    n_item_layers: Layers = 1
    """Layers on the item graph, whose last is added."""
    knn_k: Count = 10
    """Nearest items per item, itself included."""
    modality_weights: Weights | dict[str, Weight] | None = None
    """Weights of the item graphs, such as {visual: 0.1, textual: 0.9}; that if not set, where the names say
    which is which (visual 0.1, one other 0.9), else equal.
    """
    reg_weight: Weight = 0.001
    """Weight of the mean squares of user rows and user weights."""
    align_weight: Weight = 0.1
    """Weight of the gaps between the moments of the views."""
    mask_weight: Weight = 1.5
    """Weight of the feature-masking term, without a gradient in the public code."""
    mask_dropout: Annotated[Rate, acts_where("mask_weight"), acts_where("feature_mask_gradient", True)] = 0.5
    """Share of entries that feature masking drops."""
    feature_mask_gradient: Annotated[bool, acts_where("mask_weight")] = False
    """Whether feature masking trains anything; False in the public code."""
    contrast_weight: Weight = 0.0001
    """Weight of the contrast of two noisy views; at 0 they are left out."""
    contrast_temperature: Annotated[Positive, acts_where("contrast_weight")] = 0.2
    """Temperature of the contrast."""
    contrast_scope: Annotated[Literal["all", "batch"], acts_where("contrast_weight")] = "all"
    """Contrast over all users and all items, or over a batch's users and positive items."""
    shared_twins: Annotated[bool, acts_where("contrast_weight")] = False
    """Whether the noisy views are of the encoders that recommend; False in the public code: of their own."""

    aliases: ClassVar = {
        "mask_weight_f": "mask_weight", "mask_weight_g": "contrast_weight", "temp": "contrast_temperature",
    }  # fmt: skip
    defaults: ClassVar = {"learning_rate": 0.0001, "train_batch_size": 2048, "epochs": 1000}
    published: ClassVar = {"valid_metric": "Recall@10", "stopping_step": 20}


@register_model(
    settings=MENTORSettings,
    paper="MENTOR: multi-level self-supervised learning for multimodal recommendation",
    year=2025,
    modalities="any number",
    needs="features; item graphs are built and cached",
)
class MENTOR(DualGraphRecommender):
    r"""DRAGON without its user graph, whose views share their moments with those of an ID branch.

    With :math:`R^m` as in DRAGON for each modality and for the ID vectors as one more, and
    :math:`h^m = R_i^m + S^{L'} R_i^m`:

    .. math::
        U_u = [w_u^m R_u^m]_m, \quad V_i = [h_i^m]_m, \quad y_{ui} = \langle U_u, V_i \rangle \\
        L = BPR_2 + \lambda (\overline{p_u^2} + \overline{w^2}) + \lambda_a \sum_{X, Y} \mathrm{MOM}(X, Y)
            + \lambda_f MASK + \lambda_g NCE

    - MOM is :math:`|\mathrm{Var} X - \mathrm{Var} Y| + |\overline X - \overline Y|` over all entries, for all pairs of
      the fused view [U; V], of each modality's view and of the IDs' (a single one's repeated to the fused one's width).
    - MASK is ``1 - cos(D X, W X + b)`` with a dropout D, the mean over all rows of U and over those of V.
    - NCE contrasts two noisy twins of [U; V], whose every layer is moved by 0.1
      (:func:`~recbole_mm.nn.perturbation.perturb`).

    Faithful to: the authors' released code, where MASK has no gradient, the twins are encoders of their own, so that
    NCE trains of the recommending part the user weights w alone, and a user graph is made for nothing (not here).
    ``feature_mask_gradient`` and ``shared_twins`` let both act on the recommendations, as the paper's abstract has it.
    Scores are of the current parameters, where that code has the last batch's. It needs two modalities; here any
    number.
    """

    settings: MENTORSettings
    has_item_ids = True

    def __init__(self, config: Config, dataset: MultimodalDataset):
        super().__init__(config, dataset)
        settings = self.settings
        self.n_layers: int = settings.n_layers
        self.n_item_layers: int = settings.n_item_layers
        self.reg_weight: float = settings.reg_weight
        self.fused_item_graph = self.weighted_item_graph(settings.knn_k, settings.modality_weights, visual=0.1)
        self.user_item_graph = self.graph.symmetric(epsilon=0.0)

        size, n_modalities = self.embedding_size, len(self.modalities)
        self.user_fusion = fusion_weights(self.n_users, n_modalities)
        self.id_encoder = NodeEncoder(self.n_users, size, size)
        self.mask_map = nn.Linear(n_modalities * size, n_modalities * size) if settings.mask_weight else nn.Identity()
        own_twins = settings.contrast_weight and not settings.shared_twins
        self.twins = nn.ModuleList(
            NodeEncoder(self.n_users, width, size) for width in self.features.widths for _ in range(2 * bool(own_twins))
        )

    # ---------------------------------------------------------------- views

    def nodes(self) -> tuple[Tensor, Tensor]:
        """Users ``[n_users, M, d]`` and items ``[n_items, M, d]`` before they are propagated."""
        return self.user_embedding(), torch.stack(self.projections.project_all(), dim=1)

    def propagate(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """``R_u [n_users, k, d]`` and ``h_i [n_items, k, d]`` of k branches."""
        users, items = propagate_modalities(self.user_item_graph, users, items, self.n_layers)
        return users, self.smooth(items)

    def smooth(self, items: Tensor) -> Tensor:
        """``x + S^{L'} x`` of ``[n_items, k, d]``."""
        flat = items.flatten(1)
        return (flat + light_gcn(self.fused_item_graph, flat, self.n_item_layers, "last")).view(items.shape)

    def encode(self) -> tuple[Tensor, Tensor]:
        """Users ``w_u^m R_u^m [n_users, M, d]`` and items ``h_i^m [n_items, M, d]``."""
        users, items = self.propagate(*self.nodes())
        return users * self.user_fusion.unsqueeze(-1), items

    def noisy_views(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """The twins' users ``[n_users, M, 2, d]`` and items ``[n_items, M, 2, d]`` from :meth:`nodes`."""
        if self.twins:
            features = [self.feature(name) for name in self.modalities for _ in range(2)]
            pairs = [twin(feature) for twin, feature in zip(self.twins, features, strict=True)]
            users, items = (torch.stack(side, dim=1) for side in zip(*pairs, strict=True))
        else:
            users, items = (side.repeat_interleave(2, dim=1) for side in (users, items))
        total = layer = l2_normalise(torch.cat([users, items]))
        for _ in range(self.n_layers):
            layer = (self.user_item_graph @ layer.flatten(1)).view(total.shape)
            layer = perturb(layer, self.draw_noise(layer))
            total = total + layer
        users, items = total.split([self.n_users, self.n_items])
        users, items = (side.unflatten(1, (-1, 2)) for side in (users, self.smooth(items)))
        return users * self.user_fusion[:, :, None, None], items

    def draw_noise(self, layer: Tensor) -> Tensor:
        """Noise of one layer of all twins, ``[n_users + n_items, 2 M, d]`` in [0, 1).

        The second axis has both twins of the first modality, then those of the next; the first layer is drawn first.
        """
        return uniform_noise(layer)

    def draw_mask(self, rows: Tensor) -> Tensor:
        """A dropout mask for feature masking of all users ``[n_users - 1, M * d]``, then of all items."""
        return dropout(torch.ones_like(rows), self.settings.mask_dropout)

    # ---------------------------------------------------------------- loss

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """BPR to base 2, the regulariser and the three self-supervised terms, of one propagation."""
        ids = self.batch(interaction)
        nodes = self.nodes()
        views = self._all_views(nodes)
        users, items = self._fused(*views)
        rows = (*gather(users.flatten(1), ids[0]), *gather(items.flatten(1), *ids[1:]))
        ranking = self.ranking_loss(*(row.view(len(row), *items.shape[1:]) for row in rows))
        return ranking + self._other_terms(ids, nodes, views)

    def regularisation(self, users: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
        """All of the loss but BPR, for a model over this one (MARGO)."""
        nodes = self.nodes()
        return self._other_terms((users, positives, negatives), nodes, self._all_views(nodes))

    def _all_views(self, nodes: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """``R_u`` and ``h_i`` of the modalities and, where it is compared with them, of the IDs: ``[n, M + 1, d]``."""
        if not self.settings.align_weight:
            return self.propagate(*nodes)
        of_ids = self.id_encoder(self.item_embedding)
        both = (torch.cat([view, ids.unsqueeze(1)], dim=1) for view, ids in zip(nodes, of_ids, strict=True))
        return self.propagate(*both)

    def _fused(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """The view that recommends, without the IDs': ``[n, M, d]``."""
        n_modalities = len(self.modalities)
        return users[:, :n_modalities] * self.user_fusion.unsqueeze(-1), items[:, :n_modalities]

    def _other_terms(
        self, ids: tuple[Tensor, Tensor, Tensor], nodes: tuple[Tensor, Tensor], views: tuple[Tensor, Tensor]
    ) -> Tensor:
        settings = self.settings
        squares = mean_square(*self.user_embedding.rows(ids[0]), self.user_fusion[1:])
        terms = {"regularisation": self.reg_weight * squares}
        if settings.align_weight:
            terms["alignment"] = settings.align_weight * self.alignment(*views)
        if settings.mask_weight:
            terms["masking"] = settings.mask_weight * self.feature_masking(*self._fused(*views))
        if settings.contrast_weight:
            terms["contrast"] = settings.contrast_weight * self.contrast(*self.noisy_views(*nodes), *ids[:2])
        return self.sum_of_terms(**terms)

    def alignment(self, users: Tensor, items: Tensor) -> Tensor:
        """The gaps between the moments of all pairs of views, from ``R_u`` and ``h_i`` of the modalities and IDs."""
        n_modalities = len(self.modalities)
        single = zip(users[1:].unbind(1), items[1:].unbind(1), strict=True)
        views = [moments(*parts, copies=n_modalities) for parts in single]
        views.append(moments(*(side[1:] for side in self._fused(users, items))))
        return total(moment_gap(first, other) for first, other in combinations(views, 2))

    def feature_masking(self, users: Tensor, items: Tensor) -> Tensor:
        """``1 - cos`` of dropped-out and mapped rows, the mean over all users and that over all items."""
        with torch.set_grad_enabled(self.settings.feature_mask_gradient and torch.is_grad_enabled()):
            loss = users.new_zeros(())
            for rows in (users[1:].flatten(1), items[1:].flatten(1)):
                masked = rows * self.draw_mask(rows)
                loss = loss + 1 - F.cosine_similarity(masked, self.mask_map(rows), dim=-1, eps=1e-8).mean()
            return loss

    def contrast(self, users: Tensor, items: Tensor, user_ids: Tensor, item_ids: Tensor) -> Tensor:
        """InfoNCE of the two twins ``[n, M, 2, d]``, of users and of items, over all of them or those of a batch."""
        loss = users.new_zeros(())
        for table, ids in ((users, user_ids), (items, item_ids)):
            twins = [table[:, :, number].flatten(1) for number in range(2)]
            if self.settings.contrast_scope == "all":
                loss = loss + info_nce(twins[0][1:], twins[1][1:], self.settings.contrast_temperature)
            else:
                first, other = (F.embedding(ids, twin) for twin in twins)
                loss = loss + info_nce(first, other, self.settings.contrast_temperature, (ids, ids))
        return loss
