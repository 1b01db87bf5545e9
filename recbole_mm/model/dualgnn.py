"""DualGNN: dual graph neural network for multimedia recommendation (IEEE TMM, 2021)."""

from __future__ import annotations

from typing import ClassVar

import torch
from recbole.config import Config
from torch import Tensor, nn

from recbole_mm.data.dataset import MultimodalDataset
from recbole_mm.model.dual_graph import DualGraphRecommender
from recbole_mm.model.settings import LateFusionSettings
from recbole_mm.nn.dual_graph import fusion_weights, propagate_modalities
from recbole_mm.nn.gather import gather
from recbole_mm.nn.loss import mean_square
from recbole_mm.registry import register_model
from recbole_mm.settings import Few, Layers, Weight


class DualGNNSettings(LateFusionSettings):
    """DualGNN (IEEE TMM 2021), as in the public code this field compares with. Grids without a published best: the
    middle.
    """

    n_layers: Layers = 2
    """Layers on the user-item graph, whose sum with layer 0 is read out."""
    user_graph_width: Few = 40
    """K, the similar users that a user listens to."""
    reg_weight: Weight = 0.001
    """Weight of the mean squares of user rows and modality weights."""
    aliased_fusion: bool = False
    """Whether the first modality's part of a user is the sum of all, as in public code."""

    defaults: ClassVar = {"learning_rate": 0.001, "train_batch_size": 2048, "epochs": 1000}
    published: ClassVar = {"valid_metric": "Recall@20", "stopping_step": 20}


@register_model(
    settings=DualGNNSettings,
    variants={
        # POWERec's prompts (Information Fusion 101, 2024); no best Q and alpha are published, these are POWERec's
        "PODualGNN": {"user_embedding": "prompted", "prompt_num": 3},
        "POWEDualGNN": {"user_embedding": "prompted", "prompt_num": 3, "weak_weight": 0.01},
    },
    paper="DualGNN: dual graph neural network for multimedia recommendation",
    year=2021,
    modalities="any number",
    needs="features; the user graph is built and cached",
)
class DualGNN(DualGraphRecommender):
    r"""Each modality propagated over the user-item graph; users fuse them and listen to similar users.

    .. math::
        R^m = \sum_{l=0}^{L} G^l x^m, \quad
        x^m = \mathrm{L2n}([p_u^m; W_2^m\,\mathrm{LeakyReLU}(W_1^m f_i^m + b_1^m) + b_2^m]) \\
        r_u = \sum_m w_u^m R_u^m, \quad r'_u = r_u + \sum_w s_{uw} r_w, \quad r_i = \sum_m R_i^m, \quad
        y_{ui} = \langle r'_u, r_i \rangle

    with :math:`s_u` the softmax of the items that user u shares with K others. As :math:`r_i` is a sum, the
    rating splits into :math:`y^m = \langle r'_u, R_i^m \rangle`. Loss: mean BPR to base 2, and ``reg_weight``
    times the mean squares of the batch's user rows and of the two whole tables of modality weights. The
    items' weights are regularised and never used, as in the public code.

    PODualGNN is ``user_embedding: prompted``, one user table and prompts per modality; POWEDualGNN also has a
    ``weak_weight`` (POWERec paper). At their start all users are alike: Xavier's values for few prompts are many times
    those for many users, and rows are of unit length before they are propagated (mean cosine of two of 19,445 users
    0.999, of DualGNN's 0.000). ``prompt_scale: 0.01`` leaves users apart (0.07); 1 is Xavier's, as POWERec's code has.
    ``aliased_fusion: True`` is what the most used public code computes by adding up the modalities in place: there the
    first modality's part of a user is the sum of all.
    """

    settings: DualGNNSettings

    def __init__(self, config: Config, dataset: MultimodalDataset):
        super().__init__(config, dataset)
        self.n_layers: int = self.settings.n_layers
        self.reg_weight: float = self.settings.reg_weight
        self.aliased_fusion: bool = self.settings.aliased_fusion
        n_modalities = len(self.modalities)
        self.user_fusion = fusion_weights(self.n_users, n_modalities)
        self.item_fusion = fusion_weights(self.n_items, n_modalities)
        size = self.embedding_size
        # The published parameter counts include these three; no formula does.
        self.unused = nn.ModuleList(
            [nn.Linear(size, size, bias=False), nn.Linear(size, size, bias=False), nn.Linear(3 * size, size)]
        )
        self.user_item_graph = self.graph.symmetric(epsilon=0.0)
        self.user_graph_sampler = self.user_graphs(self.settings.user_graph_width, config["seed"])

    def fuse(self) -> tuple[Tensor, Tensor]:
        """Users ``r_u [n_users, d]`` before the user-user graph, and items ``R_i^m [n_items, M, d]``."""
        nodes = self.user_embedding(), torch.stack(self.projections.project_all(), dim=1)
        users, items = propagate_modalities(self.user_item_graph, *nodes, self.n_layers)
        weights = self.user_fusion.unsqueeze(-1)
        fused = (weights * users).sum(dim=1)
        if self.aliased_fusion:
            fused = fused + weights[:, 0] * users[:, 1:].sum(dim=1)
        return fused, items

    def encode(self) -> tuple[Tensor, Tensor]:
        """Users ``r'_u [n_users, M, d]``, the same for each modality, and items ``R_i^m [n_items, M, d]``."""
        users, items = self.fuse()
        users = users + self.user_graph @ users
        return users.unsqueeze(1).expand(-1, items.shape[1], -1), items

    def batch_vectors(
        self, users: Tensor, positives: Tensor, negatives: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The rows of :meth:`encode` of a batch; the user-user graph is applied at these users only."""
        fused, items = self.fuse()
        (user,) = gather(fused, users)
        user = (user + self.user_graph.product_rows(fused, users)).unsqueeze(1)
        rows = gather(items.flatten(1), positives, negatives)
        positive, negative = (row.view(-1, *items.shape[1:]) for row in rows)
        return user.expand_as(positive), positive, negative

    def regularisation(self, users: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
        """Weighted mean squares of the batch's user rows and of all modality weights but those of [PAD]."""
        rows = self.user_embedding.rows(users)
        return self.reg_weight * mean_square(*rows, self.user_fusion[1:], self.item_fusion[1:])
