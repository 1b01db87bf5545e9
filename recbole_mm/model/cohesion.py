"""COHESION: composite graph convolutional network with dual-stage fusion for multimodal recommendation (SIGIR 2025)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import torch
from recbole.config import Config
from torch import Tensor

from recbole_mm.data.dataset import MultimodalDataset
from recbole_mm.graph import EdgeSampler, SparseOperator
from recbole_mm.model.dual_graph import ListeningRecommender
from recbole_mm.model.settings import LateFusionSettings
from recbole_mm.nn.dual_graph import fusion_weights, two_layer_projection
from recbole_mm.nn.loss import bpr_loss, mean_square, weak_modality_loss
from recbole_mm.nn.normalise import l2_normalise
from recbole_mm.nn.propagation import layer_gcn, light_gcn
from recbole_mm.registry import register_model
from recbole_mm.setting_conditions import acts_where
from recbole_mm.settings import Count, Few, Layers, Rate, Weight, Weights

_SMALLEST_SQUARE = 1e-8


class COHESIONSettings(LateFusionSettings):
    """COHESION (SIGIR 2025). Its best settings are not published: learning_rate, reg_weight and n_layers are DRAGON's,
    all of them in its authors' grid.
    """

    n_layers: Layers = 2
    """Layers on the user-item graph, each weighted by its cosine to layer 0, and summed with it."""
    n_item_layers: Layers = 1
    """Layers on the item graph, whose last is added."""
    knn_k: Count = 10
    """Nearest items per item, itself included."""
    modality_weights: Weights | dict[str, Weight] | None = None
    """Weights of the item graphs, such as {visual: 0.1, textual: 0.9}; that if not set, where the names say
    which is which (visual 0.1, one other 0.9), else equal.
    """
    user_graph_width: Few = 40
    """K, the similar users that a user listens to."""
    reg_weight: Weight = 0.001
    """Weight of the mean squares of user rows and user weights."""
    edge_dropout: Rate = 0.0
    """Share of training edges dropped each epoch, popular ones first."""
    eval_graph: Annotated[Literal["full", "masked"], acts_where("edge_dropout")] = "full"
    """Edges that scores are computed on: all, or with edge_dropout those of the latest epoch (the public code)."""
    adaptive_weights: bool = True
    """Whether a modality that already separates a pair counts less in the ranking loss."""
    id_branch_gradient: bool = False
    """Whether the ID branch learns from its own ratings; False in the public code."""

    aliases: ClassVar = {"num_layer": "n_layers"}
    defaults: ClassVar = {"learning_rate": 0.0001, "train_batch_size": 2048, "epochs": 1000}
    published: ClassVar = {"valid_metric": "Recall@10", "stopping_step": 20}


@register_model(
    settings=COHESIONSettings,
    paper="COHESION: composite graph convolutional network with dual-stage fusion for multimodal recommendation",
    year=2025,
    modalities="any number, and the item ID as one more",
    needs="features; user and item graphs are built and cached",
)
class COHESION(ListeningRecommender):
    r"""Branches of IDs and of each modality, blended with the IDs early, with item and user graphs behind them.

    Over the branches m = id, m_1, m_2, ..., with E the item IDs, :math:`f^{id} = E` and G the user-item graph:

    .. math::
        q^m = \sqrt{\tfrac{1}{2} (E \odot E + z^m \odot z^m) + 10^{-8}}, \quad
        z^m = W_2^m\,\mathrm{LeakyReLU}(W_1^m f^m + b_1^m) + b_2^m \\
        x_0^m = \mathrm{L2n}([p^m; q^m]), \quad
        x_l^m = \cos(G x_{l-1}^m, x_0^m) \odot G x_{l-1}^m, \quad Z^m = \sum_{l=0}^{L} x_l^m

    .. math::
        U_u^m = Z_u^m + \sum_w s_{uw} Z_w^m, \quad V_i^m = Z_i^m + (S^{L'} Z^m)_i, \quad
        y_{ui} = \sum_m \langle U_u^m, V_i^m \rangle

    with :math:`s_u` and S as in DRAGON. Loss, with :math:`d^m = \langle U_u^m, V_i^m - V_k^m \rangle` and weights
    without a gradient:

    .. math::
        L = -\mathrm{mean} \log_2 \sigma \Big( \sum_m a^m d^m \Big)
            + \lambda \Big( \sum_{m \neq id} \overline{(p_u^m)^2} + \overline{w^2} \Big), \quad
        a^m = 1 - \mathrm{softmax}_m(d)

    over the batch's user rows and the whole table of user weights w, which are in no other formula.

    Faithful to: the authors' released code, where :math:`Z^{id}` has no gradient: the ID branch's users and layers
    keep their random start, and E learns through the modalities' q. ``id_branch_gradient: True`` lets it learn. Scores
    are of the current parameters on the whole graph, where that code has the last batch's, of the epoch's edges
    (``eval_graph: masked``). It needs two modalities; here any number.
    """

    settings: COHESIONSettings
    has_item_ids = True
    rates_ids = True

    def __init__(self, config: Config, dataset: MultimodalDataset):
        super().__init__(config, dataset)
        settings = self.settings
        self.n_layers: int = settings.n_layers
        self.n_item_layers: int = settings.n_item_layers
        self.reg_weight: float = settings.reg_weight
        self.id_projection = two_layer_projection(self.embedding_size, self.embedding_size)
        self.user_fusion = fusion_weights(self.n_users, len(self.modalities))
        self.fused_item_graph = self.weighted_item_graph(settings.knn_k, settings.modality_weights, visual=0.1)
        self.user_graph_sampler = self.user_graphs(self.settings.user_graph_width, config["seed"])
        self.edge_sampler = EdgeSampler(self.graph, settings.edge_dropout, "degree", config["seed"])
        self.full_graph = self.graph.symmetric()
        self._drawn: tuple[int, SparseOperator] | None = None

    @property
    def training_graph(self) -> SparseOperator:
        """The user-item graph of the current epoch; that of its own epoch after a checkpoint is loaded."""
        epoch = max(self.epochs_started - 1, 0)
        if self._drawn is None or self._drawn[0] != epoch:
            self._drawn = (epoch, self.edge_sampler.sample(epoch))
        return self._drawn[1]

    def content(self, branch: str) -> Tensor:
        """``z^m`` of a branch, ``[n_items, d]``."""
        return self.id_projection(self.item_embedding) if branch == "id" else self.projections.project(branch)

    def blend(self, content: Tensor) -> Tensor:
        """``q^m`` of ``z^m``, ``[n_items, d]``, the root mean square with the IDs: nowhere negative."""
        return ((self.item_embedding.square() + content.square()) / 2 + _SMALLEST_SQUARE).sqrt()

    def branches(self, names: Sequence[str]) -> tuple[Tensor, Tensor]:
        """``Z_u`` and ``V_i`` of some branches side by side, ``[n_users, k * d]`` and ``[n_items, k * d]``."""
        tables = dict(zip(self.rated_modalities, self.user_embedding.per_modality(), strict=True))
        users = torch.stack([tables[name] for name in names], dim=1)
        items = torch.stack([self.blend(self.content(name)) for name in names], dim=1)
        nodes = l2_normalise(torch.cat([users, items])).flatten(1)
        whole = not self.training and self.settings.eval_graph == "full"
        graph = self.full_graph if whole else self.training_graph
        users, items = layer_gcn(graph, nodes, self.n_layers, len(names)).split([self.n_users, self.n_items])
        return users, items + light_gcn(self.fused_item_graph, items, self.n_item_layers, "last")

    def propagate(self) -> tuple[Tensor, Tensor]:
        """``Z_u`` and ``V_i`` of all branches side by side, IDs first; by default without a gradient of theirs."""
        if self.settings.id_branch_gradient:
            return self.branches(self.rated_modalities)
        with torch.no_grad():
            ids = self.branches(["id"])
        content = self.branches(self.modalities)
        users, items = (torch.cat(pair, dim=1) for pair in zip(ids, content, strict=True))
        return users, items

    @staticmethod
    def margin_weights(margins: Tensor) -> Tensor:
        """``a^m``, ``[batch, M + 1]`` of margins of that shape: they sum to M, and have no gradient."""
        return 1 - margins.detach().softmax(dim=-1)

    def ranking_loss(self, user: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        """BPR of the reweighted margins of a batch's vectors, ``[batch, M + 1, d]`` each, and weak-modality BPR."""
        if not self.settings.adaptive_weights:
            return super().ranking_loss(user, positive, negative)
        margins = (user * (positive - negative)).sum(dim=-1)
        weights = self.margin_weights(margins)
        named = zip(self.rated_modalities, weights.mean(dim=0), strict=True)
        self.record(**{f"margin_weight_{name}": weight for name, weight in named})
        terms = {"ranking": bpr_loss((weights * margins).sum(dim=-1), base=self.loss_base)}
        if self.weak_weight:
            terms["weak_modality"] = self.weak_weight * weak_modality_loss(margins, base=self.loss_base)
        return self.sum_of_terms(**terms)

    def regularisation(self, users: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
        """Weighted mean squares of the batch's user rows but those of IDs, and of all user weights but [PAD]'s."""
        rows = self.user_embedding.rows(users)[-len(self.modalities) :]
        return self.reg_weight * mean_square(*rows, self.user_fusion[1:])
