"""POWERec: prompt-based and weak-modality enhanced multimodal recommendation (Information Fusion 101, 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

import torch
from pydantic import model_validator
from recbole.config import Config
from torch import Tensor, nn

from recbole_mm.data.dataset import MultimodalDataset
from recbole_mm.graph import EdgeSampler
from recbole_mm.model.late_fusion import LateFusionRecommender
from recbole_mm.model.projections import ModalityProjections
from recbole_mm.model.settings import LateFusionSettings
from recbole_mm.nn.gather import gather
from recbole_mm.nn.loss import half_squared_sum
from recbole_mm.nn.user_embedding import id_table
from recbole_mm.registry import PROPAGATIONS, NameIn, register_model
from recbole_mm.setting_conditions import ActsWhere, acts_where
from recbole_mm.settings import Few, Layers, LayersOrZero, Rate, Weight

IN_A_GRAPH = ActsWhere("propagation", lambda name: _uses_graph(name), "one over the graph, such as LayerGCN")
OF_LAYER_0 = ActsWhere("propagation", lambda name: name not in ("LightGCN", "BPR"), "LayerGCN")


class POWERecSettings(LateFusionSettings):
    """POWERec (Information Fusion 101, 2024): the paper's settings."""

    propagation: Annotated[str, NameIn(PROPAGATIONS, others=())] = "LayerGCN"
    """Propagation of each modality, the backbone F of the paper; BPR is none."""
    n_layers: Annotated[LayersOrZero, IN_A_GRAPH] = 4
    """Layers of the propagation; BPR has none."""
    include_layer_0: Annotated[bool, OF_LAYER_0] = True
    """Whether LayerGCN's readout adds layer 0, as the authors' code does."""
    user_embedding: Literal["separate", "shared", "prompted"] = "prompted"
    """User table."""
    mlp_layers: Layers = 1
    """Layers of each modality's MLP, each with a tanh behind it (Eq. 1)."""
    prompt_num: Few = 3
    """Q, the prompts per modality. The paper's best is 3 on Baby and 1 on Clothing in its Figure 2 and section 4.4, and
    the reverse in section 4.1; the former is taken."""
    weak_weight: Weight = 0.01
    """alpha, weight of the weak-modality loss; 0 is PORec."""
    reg_weight: Weight = 1.0
    """beta, weight of half the squared norm of what is regularised."""
    regularised: Annotated[Literal["rows", "all"], acts_where("reg_weight")] = "rows"
    """The batch's ID rows, as in the authors' code, or all parameters (Eq. 9)."""
    edge_dropout: Annotated[Rate, IN_A_GRAPH] = 0.1
    """Share of training edges dropped each epoch."""
    edge_dropout_mode: Annotated[
        Literal["degree", "uniform", "alternate"], IN_A_GRAPH, acts_where("edge_dropout")
    ] = "alternate"
    """Which edges."""

    defaults: ClassVar = {"learning_rate": 0.001, "train_batch_size": 2048, "epochs": 1000}
    published: ClassVar = {"valid_metric": "NDCG@20", "stopping_step": 20}
    aliases: ClassVar = {"backbone": "propagation", "backbone_of_backbone": "propagation"}

    @model_validator(mode="after")
    def _check_layers(self) -> Self:
        if _uses_graph(self.propagation) and self.n_layers < 1:
            raise ValueError(f"n_layers: {self.n_layers} must be at least 1 for the propagation {self.propagation}")
        return self


def _uses_graph(propagation: str) -> bool:
    return bool(PROPAGATIONS.entry(propagation).facts["uses_graph"])


@register_model(
    settings=POWERecSettings,
    paper="Prompt-based and weak-modality enhanced multimodal recommendation",
    year=2024,
    modalities="any number, and the item ID as one more",
    needs="features; propagations LayerGCN, LightGCN, BPR or one of yours",
)
class POWERec(LateFusionRecommender):
    r"""One user table adapted to each modality by prompts, and a loss on the weakest modality of each pair.

    .. math::
        e_i^m = \mathrm{MLP}^m(f_i^m), \quad e_u^m = F_u + \sum_q P^m_q, \quad
        H^m = F(e_u^m, e_i^m), \quad y_{ui} = \sum_m \langle H^m_u, H^m_i \rangle

    with the backbone F LayerGCN, LightGCN or none (BPR), over the modalities (id, m_1, m_2, ...), and

    .. math::
        L = \sum -\ln\sigma(y_{ui} - y_{uk}) + \alpha \sum -\ln\sigma(\min_m d^m) + \beta L_{reg},
        \quad d^m = y^m_{ui} - y^m_{uk}

    summed over the batch (Eqs. 1 to 9). PORec is ``weak_weight: 0``, BaseRec also ``user_embedding: shared``.
    """

    settings: POWERecSettings

    loss_reduction = "sum"

    @classmethod
    def id_only_model_of(cls, settings: Mapping[str, Any]) -> str | None:
        """What propagates each modality, which is a model's name where it is none of a user's own."""
        return settings["propagation"]

    def __init__(self, config: Config, dataset: MultimodalDataset):
        super().__init__(config, dataset)
        self.rated_modalities = ["id", *self.modalities]
        self.propagation: str = self.settings.propagation
        self.n_layers: int = self.settings.n_layers
        self.include_layer_0: bool = self.settings.include_layer_0
        self.reg_weight: float = self.settings.reg_weight

        self.item_embedding = id_table(self.n_items, self.embedding_size)
        self.user_embedding = self.user_tables()
        widths = [self.embedding_size, *self.features.widths]
        layers = (self._mlp(width) for width in widths)
        self.projections = ModalityProjections(self, layers, activation=torch.tanh_, names=self.rated_modalities)

        if _uses_graph(self.propagation):
            self.edge_sampler = EdgeSampler(
                self.graph, self.settings.edge_dropout, self.settings.edge_dropout_mode, config["seed"]
            )
            self.full_graph = self.graph.symmetric()
            self.training_graph = self.full_graph

    def _mlp(self, width: int) -> nn.Module:
        """From features of this width to ``d``; the tanh behind its last layer is the projections'."""
        first = nn.Linear(width, self.embedding_size)
        more = [nn.Linear(self.embedding_size, self.embedding_size) for _ in range(self.settings.mlp_layers - 1)]
        return nn.Sequential(first, *(part for layer in more for part in (nn.Tanh(), layer))) if more else first

    def before_epoch(self, epoch: int) -> None:
        """Draw the epoch's edges."""
        if _uses_graph(self.propagation):
            self.training_graph = self.edge_sampler.sample(epoch)

    def item_inputs(self) -> Tensor:
        """Item vectors before propagation, ``e_i^m`` (Eq. 1), ``[n_items, M, d]``."""
        ids = self.projections.of("id", self.item_embedding)
        return torch.stack([ids, *map(self.projections.project, self.modalities)], dim=1)

    def encode(self) -> tuple[Tensor, Tensor]:
        """``H^m`` of users ``[n_users, M, d]`` and items ``[n_items, M, d]``."""
        users, items = self._propagate().split([self.n_users, self.n_items])
        return users, items

    def batch_vectors(self, users: Tensor, positives: Tensor, negatives: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """``H^m`` of a training batch, ``[batch, M, d]`` each; LayerGCN's last layer is computed for its nodes only."""
        nodes = torch.cat([users, positives + self.n_users, negatives + self.n_users])
        user, positive, negative = self._propagate(nodes).chunk(3)
        return user, positive, negative

    def _propagate(self, rows: Tensor | None = None) -> Tensor:
        """``H^m`` of the nodes `rows`, or of all, users and then items: ``[n, M, d]``."""
        nodes = torch.cat([self.user_embedding(), self.item_inputs()])
        shape, nodes = nodes.shape, nodes.flatten(1)
        uses_graph = _uses_graph(self.propagation)
        graph = None if not uses_graph else self.training_graph if self.training else self.full_graph
        propagate = PROPAGATIONS.get(self.propagation)
        nodes = propagate(graph, nodes, self.n_layers, shape[1], self.include_layer_0, rows)
        return nodes.view(-1, *shape[1:])

    def regularisation(self, users: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
        """Half the squared norm of the batch's ID rows, or of all parameters (Eq. 9), as ``regularised`` says."""
        if self.settings.regularised == "all":
            return self.reg_weight * half_squared_sum(*self.parameters())
        rows = [*self.user_embedding.rows(users), *gather(self.item_embedding, positives, negatives)]
        return self.reg_weight * half_squared_sum(*rows)
