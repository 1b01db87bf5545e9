"""MGCN: multi-view graph convolutional network for multimedia recommendation (ACM MM 2023)."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from recbole.config import Config
from recbole.data.interaction import Interaction
from torch import Tensor, nn

from recbole_mm.data.dataset import MultimodalDataset
from recbole_mm.graph import SparseOperator
from recbole_mm.model.base import MultimodalRecommender
from recbole_mm.model.projections import ModalityProjections
from recbole_mm.model.settings import ModelSettings
from recbole_mm.nn.distinct import at_distinct
from recbole_mm.nn.fusion import QueryAttention
from recbole_mm.nn.loss import bpr_loss, half_squared_per_batch, info_nce
from recbole_mm.nn.propagation import light_gcn
from recbole_mm.nn.sums import total
from recbole_mm.nn.user_embedding import id_table
from recbole_mm.registry import register_model
from recbole_mm.setting_conditions import acts_where
from recbole_mm.settings import Count, Layers, Positive, Weight


class MGCNSettings(ModelSettings):
    """MGCN (ACM MM 2023): its authors' settings."""

    trainable_features: bool = True
    """Whether the features are trained, from their values as loaded."""
    n_layers: Layers = 2
    """Layers L on the user-item graph."""
    knn_k: Count = 10
    """Neighbours k per item in each modality's graph, itself included."""
    contrast_weight: Weight = 0.01
    """Weight of the InfoNCE of side information and content."""
    contrast_temperature: Annotated[Positive, acts_where("contrast_weight")] = 0.2
    """tau of the InfoNCE."""
    reg_weight: Weight = 0.0001
    """Weight of half the squares of the final rows, over the batch size."""

    aliases: ClassVar = {"temperature": "contrast_temperature"}
    defaults: ClassVar = {
        "learning_rate": 0.001,
        "lr_decay": {"factor": 0.96, "epochs": 50},
        "train_batch_size": 2048,
        "epochs": 1000,
    }
    published: ClassVar = {"valid_metric": "Recall@20", "stopping_step": 10}


@register_model(
    settings=MGCNSettings,
    paper="Multi-view graph convolutional network for multimedia recommendation",
    year=2023,
    needs="features, trained as copies; item graphs are built and cached",
)
class MGCN(MultimodalRecommender):
    r"""LightGCN on IDs, and beside it modality views that behaviour purifies, smooths and weights.

    With :math:`x^m` the projected features, :math:`S^m` the similarity-weighted item graph of a modality, R
    the user-item block of the normalised interactions and :math:`C = \mathrm{mean}_l G^l [E_u; E_i]`:

    .. math::
        z^m = E_i \odot \sigma(W_1^m x^m + b_1^m), \quad Z^m = [R S^m z^m;\ S^m z^m], \quad
        w = \mathrm{softmax}_m\, q(Z^m), \quad \bar{Z} = \sum_m w^m Z^m

        p^m = \sigma(W_2^m C + b_2^m), \quad
        side = \tfrac{1}{M + 1} \Big( \bar{Z} + \sum_m p^m \odot (Z^m - \bar{Z}) \Big), \quad
        [u; i] = C + side

    Loss: mean BPR, half the squared norm of the batch's final rows over the batch size, and the InfoNCE of
    side information against C, on the batch's users and on its positive items. The paper's 3 is M + 1 for its
    two modalities.

    What a relative such as SMORE does differently is in :meth:`build_item_graphs`, :meth:`_build_fusion`,
    :meth:`purifier_inputs` and :meth:`side_information`. The purifier already is a gate on behaviour: the feature
    adapter BeFA, three layers of the same, takes its place.
    """

    settings: MGCNSettings
    item_graphs_name: str | None = "item_graphs"

    def __init__(self, config: Config, dataset: MultimodalDataset):
        super().__init__(config, dataset)
        self.n_layers: int = self.settings.n_layers
        self.reg_weight: float = self.settings.reg_weight
        self.full_graph = self.graph.symmetric(epsilon=0.0)
        self.user_item_block = self.graph.user_item_block()
        self.item_graphs = self.build_item_graphs()

        size, n_views = self.embedding_size, len(self.item_graphs)
        self.user_embedding = id_table(self.n_users, size)
        self.item_embedding = id_table(self.n_items, size)
        self.projections = ModalityProjections(self)
        n_purifiers = 0 if self.adapters_purify else n_views
        self.purifiers = nn.ModuleList(nn.Linear(size, size) for _ in range(n_purifiers))
        self._build_fusion()

    def build_item_graphs(self) -> list[SparseOperator]:
        """One item graph per view."""
        return [self.item_graph(name, self.settings.knn_k, "similarity") for name in self.modalities]

    def _build_fusion(self) -> None:
        """The parameters of :meth:`side_information`, and the contrast with it."""
        self.contrast_weight: float = self.settings.contrast_weight
        self.contrast_temperature: float = self.settings.contrast_temperature
        size = self.embedding_size
        self.preferences = nn.Linear(size, len(self.item_graphs) * size)
        self.attention = QueryAttention(size)

    @property
    def adapters_purify(self) -> bool:
        """Whether the feature adapters are such gates on behaviour as the purifiers, and take their place (BeFA)."""
        return self.adapters.gate_behaviour

    def purifier_inputs(self) -> list[Tensor]:
        """What decides how much of each behaviour dimension a view keeps: per view ``[n_items, d]``."""
        return self.projections.project_all()

    def content(self) -> tuple[Tensor, Tensor]:
        """C of users ``[n_users, d]`` and items ``[n_items, d]``."""
        nodes = torch.cat([self.user_embedding, self.item_embedding])
        return light_gcn(self.full_graph, nodes, self.n_layers).split([self.n_users, self.n_items])

    def behaviour_tables(self) -> tuple[Tensor, Tensor]:
        """C of users and items."""
        return self.content()

    def purify(self) -> list[Tensor]:
        """``z^m``, what behaviour keeps of each view, ``[n_items, d]``."""
        inputs = self.purifier_inputs()
        if self.adapters_purify:
            return inputs
        return [self.item_embedding * torch.sigmoid(gate(x)) for gate, x in zip(self.purifiers, inputs, strict=True)]

    def item_views(self) -> Tensor:
        """``S^m z^m``, views side by side, ``[n_items, n_views * d]``; a user's views are R times them."""
        views = [graph @ purified for graph, purified in zip(self.item_graphs, self.purify(), strict=True)]
        return torch.cat(views, dim=1)

    def gates(self, content: Tensor) -> Tensor:
        """``p^m``, what behaviour asks of each view: from C ``[n, d]``, ``[n, n_views, d]``."""
        return torch.sigmoid(self.preferences(content)).view(len(content), -1, self.embedding_size)

    def side_information(self, content: Tensor, views: Tensor) -> Tensor:
        """side of some nodes, ``[n, d]``, from their C ``[n, d]`` and views ``[n, n_views, d]``."""
        common = (self.attention(views) * views).sum(dim=1)
        kept = self.gates(content) * (views - common.unsqueeze(1))
        return (common + kept.sum(dim=1)) / (views.shape[1] + 1)

    def encode(self) -> tuple[Tensor, Tensor]:
        """Users ``[n_users, d]`` and items ``[n_items, d]``."""
        users, items = self.behaviour_tables()
        views = self.item_views()
        return users + self._side(users, self.user_item_block @ views), items + self._side(items, views)

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """BPR, the regulariser and the two contrasts."""
        ids = self.batch(interaction)
        content, side = self.batch_parts(*ids)
        user, positive, negative = (first + other for first, other in zip(content, side, strict=True))
        terms = {"ranking": bpr_loss((user * (positive - negative)).sum(dim=-1))}
        squares = half_squared_per_batch(self.train_batch_size, user, positive, negative)
        terms["regularisation"] = self.reg_weight * squares
        if self.contrast_weight:
            contrasts = (
                info_nce(side[part], content[part], self.contrast_temperature, (own, own))
                for part, own in enumerate(ids[:2])
            )
            terms["contrast"] = self.contrast_weight * total(contrasts)
        return self.sum_of_terms(**terms)

    def batch_parts(self, users: Tensor, positives: Tensor, negatives: Tensor) -> tuple[list[Tensor], ...]:
        """C and side of a batch's users, positive and negative items: two lists of three ``[batch, d]``.

        Views are fused at the rows of the batch only.
        """
        user_content, item_content = self.behaviour_tables()
        views = self.item_views()

        def of_users(ids: Tensor) -> Tensor:
            user_views = self.user_item_block.product_rows(views, ids)
            return self._with_side(F.embedding(ids, user_content), user_views)

        def of_items(ids: Tensor) -> Tensor:
            return self._with_side(F.embedding(ids, item_content), F.embedding(ids, views))

        rows = [*at_distinct(of_users, users), *at_distinct(of_items, positives, negatives)]
        content, side = zip(*(row.chunk(2, dim=1) for row in rows), strict=True)
        return list(content), list(side)

    def _with_side(self, content: Tensor, views: Tensor) -> Tensor:
        return torch.cat([content, self._side(content, views)], dim=1)

    def _side(self, content: Tensor, views: Tensor) -> Tensor:
        return self.side_information(content, views.view(len(views), -1, self.embedding_size))
