"""LUDP: learning the user's deeper preferences for multi-modal recommendation (ACM TOMM 19(3s), 2023)."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from recbole.config import Config
from recbole.data.interaction import Interaction
from torch import Tensor, nn

from recbole_mm.data.dataset import MultimodalDataset
from recbole_mm.model.base import MultimodalRecommender
from recbole_mm.model.ludp_settings import LUDPSettings
from recbole_mm.model.projections import ModalityProjections
from recbole_mm.nn.gather import gather
from recbole_mm.nn.loss import bpr_loss, half_squared_per_batch
from recbole_mm.nn.modality_fusion import ModalityFusion
from recbole_mm.nn.normalise import mean_cosine
from recbole_mm.nn.propagation import light_gcn
from recbole_mm.nn.user_embedding import id_table
from recbole_mm.registry import register_model

GRAPH_WEIGHTINGS = {"literal": "inverse_sqrt_k", "BIN": "binary", "WSYM": "similarity"}


@register_model(
    settings=LUDPSettings,
    paper="Learning the user's deeper preferences for multi-modal recommendation systems",
    year=2023,
    needs="features; item graphs are built and cached",
)
class LUDP(MultimodalRecommender):
    r"""LightGCN on IDs, item graphs per modality, and user preferences that are means of item features.

    .. math::
        \bar E &= \sum_{l \leq L} G^l [E_u; E_i], \quad h_i^m = ((S^m)^{L_i} E_i)_i, \\
        p_u^m &= \phi\Big(\frac{1}{|N_u|} \sum_{j \in N_u} W_1^m e_j^m\Big), \quad
        \hat p_u^m = \phi(W_2^m p_u^m) + E_u, \\
        e_u^* &= \bar E_u + F_m(\hat p_u^m), \quad e_i^* = \bar E_i + F_m(h_i^m), \quad
        y_{ui} = <e_u^*, e_i^*>

    with G the symmetric graph, ``S^m`` over each item's k nearest items by the modality's features as loaded,
    ``\phi`` LeakyReLU, and F the fusion over the modalities: attention in the paper, with parameters of its
    own on each side. What the paper leaves open is a key: ``item_graph_norm``, ``l2_form``, ``preference_scale``, and
    ``user_attention``, because the user side's attention is printed without a user index: ``per_user``, as
    the other is per item, or ``shared``, the softmax of the mean score of all users. Its initial values are
    Gaussian without a scale; here N(0, 0.1^2) for the ID tables, as in LightGCN, Xavier normal for matrices,
    zero for biases. The preference's length then follows that of the features, and can drown the collaborative part
    (all users alike); with ``preference_scale: s`` each ``W_2^m`` is multiplied once, at the start, so that the mean
    length of ``\phi(W_2^m p_u^m)`` over users is s times that of ``\bar E_u``.

    The loss is the mean BPR and ``\lambda`` times the regulariser.

    Variants: ``user_preference: False`` leaves the item graphs, ``item_graph: False`` too leaves LightGCN
    with a sum readout; ``fusion: sum | concat``; a single name in ``modalities``; ``n_item_layers``;
    ``knn_k``.

    A user without training interactions has the preference ``E_u``.
    """

    settings: LUDPSettings

    def __init__(self, config: Config, dataset: MultimodalDataset):
        super().__init__(config, dataset)
        self.n_layers: int = self.settings.n_layers
        self.n_item_layers: int = self.settings.n_item_layers
        self.reg_weight: float = self.settings.reg_weight
        self.l2_form: str = self.settings.l2_form

        gaussian = partial(nn.init.normal_, std=0.1)
        self.user_embedding = id_table(self.n_users, self.embedding_size, gaussian)
        self.item_embedding = id_table(self.n_items, self.embedding_size, gaussian)
        self.symmetric = self.graph.symmetric()
        self.has_item_graph: bool = self.settings.item_graph
        if self.has_item_graph:
            self._build_item_graphs(self.settings.knn_k, self.settings.item_graph_norm, self.settings.fusion)
        self.has_user_preference: bool = self.settings.user_preference
        if self.has_user_preference:
            self._build_user_preference(self.settings)
        else:
            if self.adapters:
                raise ValueError(
                    "feature_adapter: LUDP reads projected features for its user preferences only; leave the key at "
                    "none, or set user_preference: True"
                )
            self.features.freeze()

    def _build_item_graphs(self, k: int, norm: str, fusion: str) -> None:
        self.item_graphs = [self.item_graph(name, k, GRAPH_WEIGHTINGS[norm]) for name in self.modalities]
        self.item_fusion = ModalityFusion(fusion, len(self.modalities), self.embedding_size)

    def _build_user_preference(self, settings: LUDPSettings) -> None:
        width = settings.preference_size
        if self.adapters and width != self.embedding_size:
            raise ValueError(
                f"preference_size: {width} must equal embedding_size: {self.embedding_size} with a feature_adapter"
            )
        maps = [nn.Linear(own, width, bias=False) for own in self.features.widths]
        lifts = [torch.empty(width, self.embedding_size) for _ in self.modalities]
        for matrix in (*(layer.weight for layer in maps), *lifts):
            nn.init.xavier_normal_(matrix)
        self.projections = ModalityProjections(self, maps)
        self.preference_maps = nn.Parameter(torch.stack(lifts))
        self.mean_of_items = self.graph.user_mean_block()
        shared = settings.user_attention == "shared"
        self.user_fusion = ModalityFusion(settings.fusion, len(self.modalities), self.embedding_size, shared=shared)
        if settings.preference_scale is not None:
            self._scale_preference(settings.preference_scale)

    @torch.no_grad()
    def _scale_preference(self, scale: float) -> None:
        """Have each modality's preference that long at the start; LeakyReLU keeps a positive factor."""
        with_items = torch.from_numpy(self.graph.user_degrees > 0)
        collaborative = self.collaborative()[: self.n_users][with_items].norm(dim=1).mean()
        lengths = self.lifted(self.mean_features()[with_items]).norm(dim=2).mean(dim=1)  # [M]
        if not (lengths > 0).all():
            raise ValueError("preference_scale: a modality's features give no preference to scale; leave it out")
        self.preference_maps.mul_((scale * collaborative / lengths)[:, None, None])

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """The user preference's, and a feature adapter's."""
        own: list[nn.Parameter] = []
        if self.has_user_preference:
            own = [self.preference_maps, *self.projections.parameters(), *self.user_fusion.parameters()]
        return {**super().parameter_groups(), "preference": own}

    def encode(self) -> tuple[Tensor, Tensor]:
        """``e*`` of users ``[n_users, d]`` and items ``[n_items, d]``."""
        users, items = self.collaborative().split([self.n_users, self.n_items])
        if self.has_user_preference:
            users = users + self.preference(self.mean_features(), self.user_embedding)
        if self.has_item_graph:
            items = items + self.item_fusion(self.views(self.similar_items()))
        return users, items

    def collaborative(self) -> Tensor:
        """``\\bar E``, ``[n_nodes, d]``."""
        nodes = torch.cat([self.user_embedding, self.item_embedding])
        return light_gcn(self.symmetric, nodes, self.n_layers, "sum")

    def similar_items(self) -> Tensor:
        """``h^m`` of all items, modalities side by side, ``[n_items, M * d]``."""
        ego, depth = self.item_embedding, self.n_item_layers
        return torch.cat([light_gcn(graph, ego, depth, "last") for graph in self.item_graphs], dim=1)

    def mean_features(self) -> Tensor:
        """Means over each user's items of ``W_1^m e^m``, side by side, ``[n_users, M * preference_size]``."""
        return self.mean_of_items @ torch.cat(self.projections.project_all(), dim=1)

    def preference(self, means: Tensor, ego: Tensor) -> Tensor:
        """``F_m(\\hat p^m)`` of users, ``[n, d]``, from their rows of `mean_features` and of ``E_u``.

        Some users, or all where they share their attention.
        """
        return self.user_fusion(self.lifted(means) + ego)

    def lifted(self, means: Tensor) -> Tensor:
        """``\\phi(W_2^m p^m)`` of users, ``[M, n, d]``, from their rows of `mean_features`."""
        return F.leaky_relu(self.views(F.leaky_relu(means)) @ self.preference_maps)

    def attention_weights(self) -> dict[str, Tensor]:
        """``\\alpha`` of each ``item`` and ``\\beta`` of each ``user``, ``[n, M]``, of sides with attention."""
        sides: dict[str, tuple[ModalityFusion, Tensor]] = {}
        if self.has_item_graph:
            sides["item"] = self.item_fusion, self.views(self.similar_items())
        if self.has_user_preference:
            sides["user"] = self.user_fusion, self.lifted(self.mean_features()) + self.user_embedding
        return {
            side: fusion.attention(views).expand(views.shape[:2]).T
            for side, (fusion, views) in sides.items()
            if fusion.kind == "attention"
        }

    @torch.no_grad()
    def diagnostics(self) -> dict[str, float]:
        """Whether the preference drowns the rest: mean lengths, and how alike users are."""
        if not self.has_user_preference:
            return {}
        users = self.collaborative()[1 : self.n_users]
        preference = self.preference(self.mean_features(), self.user_embedding)[1:]
        lengths = [part.norm(dim=1).mean() for part in (users, preference)]
        values = torch.stack([*lengths, mean_cosine(users + preference)]).tolist()
        return dict(zip(("collaborative_length", "preference_length", "user_cosine"), values, strict=True))

    def views(self, side_by_side: Tensor) -> Tensor:
        """``[n, M * width]`` as ``[M, n, width]``."""
        return side_by_side.view(len(side_by_side), len(self.modalities), -1).transpose(0, 1)

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """Mean BPR and the weighted regulariser."""
        users, positives, negatives = self.batch(interaction)
        nodes = torch.cat([users, positives + self.n_users, negatives + self.n_users])
        user, items = gather(self.collaborative(), nodes)[0].split([len(users), 2 * len(users)])
        (user_ego,) = gather(self.user_embedding, users)
        if self.has_user_preference and self.user_fusion.shares_attention:
            user = user + gather(self.preference(self.mean_features(), self.user_embedding), users)[0]
        elif self.has_user_preference:
            (means,) = gather(self.mean_features(), users)
            user = user + self.preference(means, user_ego)
        if self.has_item_graph:
            views = gather(self.similar_items(), torch.cat([positives, negatives]))
            items = items + self.item_fusion(self.views(*views))
        positive, negative = items.split(len(users))
        terms = {"ranking": bpr_loss((user * (positive - negative)).sum(dim=-1))}
        if self.reg_weight:
            terms["regularisation"] = self.reg_weight * self.regulariser(user_ego, positives, negatives)
        return self.sum_of_terms(**terms)

    def regulariser(self, user_ego: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
        """Half the squares of the batch's ID rows over the batch size, or the squares of all parameters."""
        if self.l2_form == "batch_rows":
            item_egos = gather(self.item_embedding, positives, negatives)
            return half_squared_per_batch(self.train_batch_size, user_ego, *item_egos)
        flat = [parameter.flatten() for parameter in self.parameters() if parameter.requires_grad]
        return sum(values @ values for values in flat)
