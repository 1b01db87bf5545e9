"""PGL: principal graph learning for multimodal recommendation (AAAI 2025)."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from recbole.config import Config
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_mm.data.dataset import MultimodalDataset
from recbole_mm.graph import EdgeSampler, SparseOperator, principal_graph
from recbole_mm.graph.operator import square
from recbole_mm.model.late_fusion import LateFusionRecommender
from recbole_mm.model.projections import ModalityProjections
from recbole_mm.model.settings import LateFusionSettings
from recbole_mm.nn.dropout import dropout
from recbole_mm.nn.loss import info_nce
from recbole_mm.nn.normalise import l2_normalise
from recbole_mm.nn.propagation import light_gcn
from recbole_mm.nn.user_embedding import id_table
from recbole_mm.registry import register_model
from recbole_mm.setting_conditions import acts_where
from recbole_mm.settings import Count, Layers, Positive, PositiveShare, Rate, Weight, Weights, Width


class PGLSettings(LateFusionSettings):
    """PGL (AAAI 2025): its authors' settings of Baby, as their logs have them (their file has the contrast at 0).
    Sports: contrast_weight 0.1, contrast_dropout 0.05; Clothing: 0.5 and 0.1.
    """

    trainable_features: bool = True
    """Whether the features are trained, from their values as loaded."""
    n_layers: Layers = 2
    """Layers over the user-item graph, whose mean with layer 0 is read out."""
    n_item_layers: Layers = 1
    """Layers over the item graph, whose last is added."""
    knn_k: Count = 10
    """Nearest items of each item, itself included."""
    modality_weights: Weights | dict[str, Weight] | None = None
    """Weights of the item graphs, such as {visual: 0.1, textual: 0.9}; that if not set, where the names say
    which is which (visual 0.1, one other 0.9), else equal.
    """
    principal_graph: Literal["local", "global", "full"] = "local"
    """Graph of training: edges drawn each epoch, a part of the spectrum made once, or all edges."""
    keep_ratio: Annotated[PositiveShare, acts_where("principal_graph", "local")] = 0.3
    """local: share of edges kept each epoch, those of popular nodes dropped first."""
    svd_rank: Annotated[Width, acts_where("principal_graph", "global")] = 64
    """global: how many singular values of the user-item graph are computed, an even number."""
    svd_cut: Annotated[PositiveShare, acts_where("principal_graph", "global")] = 0.25
    """global: share of them in the upper and in the lower band."""
    svd_threshold: Annotated[Weight, acts_where("principal_graph", "global")] = 0.001
    """global: entries of the graph of smaller size are left out."""
    svd_weights: Annotated[Literal["product", "bands"], acts_where("principal_graph", "global")] = "product"
    """global: upper vectors weighted by upper times lower value (the public code), or both bands as they are."""
    contrast_weight: Weight = 0.05
    """c, weight of the contrast of two dropped-out views of the batch's rows."""
    contrast_dropout: Annotated[Rate, acts_where("contrast_weight")] = 0.2
    """p, share of a view's entries that are dropped."""
    contrast_temperature: Annotated[Positive, acts_where("contrast_weight")] = 0.2
    """Temperature of the contrast."""

    defaults: ClassVar = {
        "learning_rate": 0.001, "lr_decay": {"factor": 0.96, "epochs": 50}, "train_batch_size": 2048, "epochs": 1000,
    }  # fmt: skip
    published: ClassVar = {"valid_metric": "Recall@20", "stopping_step": 20}


@register_model(
    settings=PGLSettings,
    paper="Mind individual information! Principal graph learning for multimedia recommendation",
    year=2025,
    modalities="any number",
    needs="features, trained as copies; item graphs, and with `principal_graph: global` a spectral graph, are "
    "built and cached",
)
class PGL(LateFusionRecommender):
    r"""Trained on the principal part of the user-item graph, and asked on the whole of it; no item IDs.

    With :math:`x^m = \mathrm{L2n}(W^m f_i^m + b^m)`, a user table :math:`U^m` per modality, G the graph of training or,
    in evaluation, the whole symmetric graph, and :math:`S^m` the mean over an item's k nearest items by the features as
    loaded:

    .. math::
        [u^m; i^m] = \mathrm{mean}_{l=0..L} G^l [U^m; x^m], \quad
        h^m = S^{L'} x^m,\ S = \sum_m a_m S^m, \quad
        y_{ui} = \sum_m \langle u^m, i^m + h^m \rangle

    G is drawn each epoch (``principal_graph: local``, as FREEDOM's), made once of singular vectors (``global``,
    :func:`~recbole_mm.graph.principal.principal_graph`) or the whole graph (``full``).

    .. math::
        L = BPR(y) + \tfrac{c}{2} \big( \mathrm{NCE}(D_1 u, D_2 u) + \mathrm{NCE}(D_3 i, D_4 i) \big)

    as batch means, of the batch's users and positive items with their modalities side by side and four dropout masks D.
    There is no other regulariser.

    Faithful to: the authors' released code, whose ``reg_weight`` is c and whose ``global`` multiplies the singular
    values of the upper band by those of the lower (its paper is said to keep both bands: ``svd_weights: bands``). It
    needs two modalities; here there is a user table, a projection and a graph for each of any number, weights summing
    to 1.
    """

    settings: PGLSettings

    def __init__(self, config: Config, dataset: MultimodalDataset):
        super().__init__(config, dataset)
        settings = self.settings
        self.n_layers: int = settings.n_layers
        self.n_item_layers: int = settings.n_item_layers
        self.contrast_weight: float = settings.contrast_weight
        self.contrast_dropout: float = settings.contrast_dropout
        self.contrast_temperature: float = settings.contrast_temperature
        self.fused_item_graph = self.weighted_item_graph(settings.knn_k, settings.modality_weights, visual=0.1)

        if self.adapters.need_behaviour:
            self.behaviour_embedding = id_table(self.n_items, self.embedding_size)
        self.user_embedding = self.user_tables()
        self.projections = ModalityProjections(self)
        self.full_graph = self.graph.symmetric()
        self.training_graph = self.full_graph
        self.edge_sampler: EdgeSampler | None = None
        if settings.principal_graph == "global":
            self.training_graph = self._spectral_graph()
        elif settings.principal_graph == "local":
            self.edge_sampler = EdgeSampler.keeping(self.graph, settings.keep_ratio, "degree", config["seed"])

    @property
    def behaviour_vectors(self) -> Tensor | None:
        """The table made for an adapter that reads one."""
        return getattr(self, "behaviour_embedding", None)

    def _spectral_graph(self) -> SparseOperator:
        """The graph of ``principal_graph: global``, from disk where the same one was made before."""
        settings = self.settings
        parameters: dict[str, Any] = {
            "n_users": self.n_users, "n_items": self.n_items, "rank": settings.svd_rank, "cut": settings.svd_cut,
            "threshold": settings.svd_threshold, "weights": settings.svd_weights,
        }  # fmt: skip

        def build() -> dict[str, np.ndarray]:
            block = self.graph.user_item_block(epsilon=1e-7)
            chosen = {name: parameters[name] for name in ("rank", "cut", "threshold", "weights")}
            csr = principal_graph(block, **chosen).to_scipy()
            return {"indptr": csr.indptr, "indices": csr.indices, "values": csr.data}

        inputs = [self.graph.users, self.graph.items]
        make = square(self.graph.n_nodes, symmetric=True)
        return self.graph_cache.get("principal-graph", inputs, parameters, build, make)

    def before_epoch(self, epoch: int) -> None:
        """Draw the epoch's edges."""
        if self.edge_sampler is not None:
            self.training_graph = self.edge_sampler.sample(epoch)

    def encode(self) -> tuple[Tensor, Tensor]:
        """Users ``u^m [n_users, M, d]`` and items ``i^m + h^m [n_items, M, d]``."""
        graph = self.training_graph if self.training else self.full_graph
        content = l2_normalise(torch.stack(self.projections.project_all(), dim=1))
        nodes = torch.cat([self.user_embedding(), content])
        propagated = light_gcn(graph, nodes.flatten(1), self.n_layers)
        users, items = propagated.split([self.n_users, self.n_items])
        items = items + light_gcn(self.fused_item_graph, content.flatten(1), self.n_item_layers, "last")
        return users.view(-1, *nodes.shape[1:]), items.view(-1, *nodes.shape[1:])

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """Mean BPR and the contrast, of one encoding."""
        user, positive, negative = self.batch_vectors(*self.batch(interaction))
        ranking, contrast = self.ranking_loss(user, positive, negative), self.contrast(user, positive)
        self.record(loss_contrast=contrast)
        return ranking + contrast

    def regularisation(self, users: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
        """The weighted contrast, for a model over this one (MARGO)."""
        user, positive, _ = self.batch_vectors(users, positives, negatives)
        return self.contrast(user, positive)

    def contrast(self, user: Tensor, positive: Tensor) -> Tensor:
        """``c / 2`` times the contrasts of a batch's users and positive items, ``[batch, M, d]`` each."""
        total = user.new_zeros(())
        if not self.contrast_weight:
            return total
        for rows in (user.flatten(1), positive.flatten(1)):
            first, other = (rows * self.draw_mask(rows) for _ in range(2))
            total = total + info_nce(first, other, self.contrast_temperature)
        return 0.5 * self.contrast_weight * total

    def draw_mask(self, rows: Tensor) -> Tensor:
        """A dropout mask of the shape of `rows`, drawn for the users twice and then for the items twice."""
        return dropout(torch.ones_like(rows), self.contrast_dropout)
