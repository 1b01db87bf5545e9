"""LGMRec: local and global graph learning for multimodal recommendation (AAAI 2024)."""

from __future__ import annotations

from itertools import combinations
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from recbole.config import Config
from recbole.data.interaction import Interaction
from torch import Tensor, nn

from recbole_mm.data.dataset import MultimodalDataset
from recbole_mm.graph import tell_of_no_edges
from recbole_mm.model.base import MultimodalRecommender
from recbole_mm.model.projections import MatrixProjections, xavier_matrices
from recbole_mm.model.settings import ModelSettings
from recbole_mm.nn.gather import gather
from recbole_mm.nn.loss import bpr_loss, norm_per_row, table_contrast
from recbole_mm.nn.propagation import light_gcn
from recbole_mm.nn.user_embedding import id_table
from recbole_mm.registry import register_model
from recbole_mm.setting_conditions import acts_where
from recbole_mm.settings import Few, Layers, Positive, PositiveShare, Weight

_SMALLEST_NORM = 1e-12


class LGMRecSettings(ModelSettings):
    """LGMRec (AAAI 2024): the authors' settings for Baby. Sports: 4 user-item layers, keep_rate 0.4, hyper_weight
    0.6; Clothing: 2 hypergraph layers, 64 hyperedges, keep_rate 0.2, hyper_weight 0.2. Features are constants.
    """

    n_layers: Layers = 2
    """Layers over IDs."""
    n_mm_layers: Layers = 2
    """Layers over projected features."""
    n_hyper_layers: Layers = 1
    """Layers over the hypergraph."""
    n_hyperedges: Few = 4
    """Hyperedges of each modality."""
    keep_rate: PositiveShare = 0.5
    """rho, share of memberships kept in training; 1 drops none."""
    hyper_weight: Weight = 0.3
    """alpha, weight of the global vectors in the final ones."""
    gumbel_temperature: Positive = 0.2
    """Temperature of the softmax over hyperedges."""
    contrast_temperature: Annotated[Positive, acts_where("contrast_weight")] = 0.2
    """Temperature of the contrast between modalities."""
    contrast_weight: Weight = 0.0001
    """Weight of the contrast, which is summed over the batch."""
    reg_weight: Weight = 1e-06
    """Weight of the norms of the batch's final rows."""

    aliases: ClassVar = {
        "cl_weight": "contrast_weight", "cl_temperature": "contrast_temperature", "n_ui_layers": "n_layers",
    }
    defaults: ClassVar = {"learning_rate": 0.001, "train_batch_size": 2048, "epochs": 1000}
    published: ClassVar = {"valid_metric": "Recall@20", "stopping_step": 20}


@register_model(
    settings=LGMRecSettings,
    paper="LGMRec: Local and global graph learning for multimodal recommendation",
    year=2024,
    modalities="any number; the contrast needs two",
    needs="features; two modalities for its contrast",
)
class LGMRec(MultimodalRecommender):
    r"""Local vectors from the interaction graph, and global ones from learned hyperedges per modality.

    .. math::
        C &= \mathrm{mean}_{l \leq L_{ui}} G^l [E_u; E_i], \quad
        X^m = G^{L_{mm}} [\bar A f^m W^m; f^m W^m], \\
        I^m &= \mathrm{softmax}((f^m H^m + g) / \tau_g), \quad
        U^m = \mathrm{softmax}((A f^m H^m + g) / \tau_g), \\
        z &= C + \sum_m \|X^m\| + \alpha \|\sum_m [U^m; I^m] K^m\|, \quad K^m = (I^m)^T C_i,

    with ``|x|`` a row divided by its norm, G the symmetric graph, A the interactions as 0 and 1, ``\bar A``
    the mean over a user's items, and, in training only, Gumbel noise g and a dropout of the memberships
    ``U^m, I^m``. A further hypergraph layer passes the items over their hyperedges once more, which replaces
    ``K^m`` by ``(I^m)^T I^m K^m``.

    .. math:: L = L_{BPR} + \lambda_{cl} L_{cl} + \lambda (\|z_u\|_F + \|z_i\|_F + \|z_k\|_F) / |B|

    where ``L_cl`` contrasts the global vectors of one modality with those of another, for the batch's users
    against all users and for its positive items against all items, summed over the batch. The paper has two
    modalities: visual vectors are the anchors, textual ones the candidates. Here every pair of modalities
    counts once, the one named first being the anchor; a single modality has no contrast.
    """

    settings: LGMRecSettings

    def __init__(self, config: Config, dataset: MultimodalDataset):
        super().__init__(config, dataset)
        self.n_layers: int = self.settings.n_layers
        self.n_mm_layers: int = self.settings.n_mm_layers
        self.n_hyper_layers: int = self.settings.n_hyper_layers
        self.n_hyperedges: int = self.settings.n_hyperedges
        self.keep_rate: float = self.settings.keep_rate
        n_members = max(self.n_users, self.n_items) * len(self.modalities) * self.n_hyperedges
        share = f"the hypergraph of a step, by keep_rate: {self.keep_rate:g} of {n_members:,} memberships,"
        tell_of_no_edges(self.keep_rate * n_members < 1, share, "give more")
        self.hyper_weight: float = self.settings.hyper_weight
        self.gumbel_temperature: float = self.settings.gumbel_temperature
        self.contrast_temperature: float = self.settings.contrast_temperature
        self.contrast_weight: float = self.settings.contrast_weight
        self.reg_weight: float = self.settings.reg_weight

        self.user_embedding = id_table(self.n_users, self.embedding_size)
        self.item_embedding = id_table(self.n_items, self.embedding_size)
        widths = self.features.widths
        self.projections = MatrixProjections(self, xavier_matrices(widths, self.embedding_size))
        self.hyperedges = nn.ParameterList(xavier_matrices(widths, self.n_hyperedges))
        self.symmetric = self.graph.symmetric()
        self.mean_of_items = self.graph.user_mean_block()
        self.interactions = self.graph.raw_block()

    def encode(self) -> tuple[Tensor, Tensor]:
        """Final vectors ``z`` of users ``[n_users, d]`` and items ``[n_items, d]``."""
        local, modal, members, hyperedges = self.propagate()
        nodes = self.combine(local, modal, torch.cat(members), hyperedges)
        users, items = nodes.split([self.n_users, self.n_items])
        return users, items

    def propagate(self) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor], Tensor]:
        """All that runs over the whole graph.

        Returns:
            ``C [n_nodes, d]``, ``X^m`` side by side ``[n_nodes, M * d]``, the memberships in h hyperedges
            ``U^m [n_users, M, h]`` and ``I^m [n_items, M, h]``, and the hyperedges' ``K^m [M, h, d]``.
        """
        projected, logits = self.project_and_assign()
        modal = torch.cat([self.mean_of_items @ projected, projected])
        modal = light_gcn(self.symmetric, modal, self.n_mm_layers, "last")
        local = torch.cat([self.user_embedding, self.item_embedding])
        local = light_gcn(self.symmetric, local, self.n_layers)
        members = self.memberships(self.interactions @ logits), self.memberships(logits)
        return local, modal, members, self.hyperedge_vectors(members[1], local[self.n_users :])

    def project_and_assign(self) -> tuple[Tensor, Tensor]:
        """``f^m W^m``, adapted, and ``f^m H^m``, each side by side: ``[n_items, M * d]`` and ``[n_items, M * h]``."""
        maps = [torch.cat(pair, dim=1) for pair in zip(self.projections, self.hyperedges, strict=True)]
        both = [self.feature(name) @ weights for name, weights in zip(self.modalities, maps, strict=True)]
        parts = [product.split([self.embedding_size, self.n_hyperedges], dim=1) for product in both]
        projected, logits = zip(*parts, strict=True)
        adapted = list(map(self.adapters.adapt, self.modalities, projected))
        return torch.cat(adapted, dim=1), torch.cat(logits, dim=1)

    def memberships(self, logits: Tensor) -> Tensor:
        """How much each row belongs to each hyperedge, ``[n, M, h]``, from logits ``[n, M * h]``."""
        logits = logits.view(len(logits), len(self.modalities), self.n_hyperedges)
        if not self.training:
            return (logits / self.gumbel_temperature).softmax(dim=-1)
        members = ((logits + _gumbel_noise(logits)) / self.gumbel_temperature).softmax(dim=-1)
        kept = torch.rand(members.shape, device=members.device) < self.keep_rate
        return members * (kept / self.keep_rate).to(members.dtype)

    def hyperedge_vectors(self, item_members: Tensor, items: Tensor) -> Tensor:
        """``K^m`` of the last hypergraph layer, ``[M, h, d]``; [PAD] is in no hyperedge."""
        members = item_members[1:].transpose(0, 1)
        vectors = members.transpose(1, 2) @ items[1:]
        if self.n_hyper_layers > 1:
            overlaps = members.transpose(1, 2) @ members
            for _ in range(self.n_hyper_layers - 1):
                vectors = overlaps @ vectors
        return vectors

    def combine(self, local: Tensor, modal: Tensor, members: Tensor, hyperedges: Tensor) -> Tensor:
        """``z`` of some nodes, ``[n, d]``, from their rows of what :meth:`propagate` gave."""
        views = modal.view(len(modal), len(self.modalities), self.embedding_size)
        views = F.normalize(views, dim=-1, eps=_SMALLEST_NORM)
        global_rows = F.normalize(members.flatten(1) @ hyperedges.flatten(0, 1), eps=_SMALLEST_NORM)
        return local + views.sum(dim=1) + self.hyper_weight * global_rows

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """Mean BPR, the contrast summed over the batch, and norms of the final rows over the batch size."""
        users, positives, negatives = self.batch(interaction)
        local, modal, (user_members, item_members), hyperedges = self.propagate()
        members = _rows(user_members, users) + _rows(item_members, positives, negatives)
        nodes = torch.cat([users, positives + self.n_users, negatives + self.n_users])
        (local_rows,), (modal_rows,) = gather(local, nodes), gather(modal, nodes)
        rows = self.combine(local_rows, modal_rows, torch.cat(members), hyperedges)
        user, positive, negative = rows.split(len(users))
        terms = {"ranking": bpr_loss((user * (positive - negative)).sum(dim=-1))}
        terms["regularisation"] = self.reg_weight * norm_per_row(user, positive, negative)
        if self.contrast_weight and len(self.modalities) > 1:
            contrast = self.contrast(members[0], user_members, hyperedges, users)
            contrast = contrast + self.contrast(members[1], item_members, hyperedges, positives)
            # a sum over the batch of all processes, where gradients are averaged
            terms["contrast"] = self.contrast_weight * self.n_processes * contrast
        return self.sum_of_terms(**terms)

    def contrast(self, rows: Tensor, table: Tensor, hyperedges: Tensor, ids: Tensor) -> Tensor:
        """``L_cl`` of users or of items, from cosines in the coordinates of the h hyperedges.

        A global vector is ``U^m K^m``, a dot product of two therefore ``U^m (K^m K'^T) U'^T``: with fewer
        hyperedges than d the large product ``[batch, n]`` is so much cheaper.

        Args:
            rows: memberships of the batch, ``[batch, M, h]``.
            table: memberships of all, ``[n, M, h]``.
            ids: ``[batch]`` rows of the batch in the table.
        """
        total = rows.new_zeros(())
        for first, second in combinations(range(len(self.modalities)), 2):
            overlap = hyperedges[first] @ hyperedges[second].T / self.contrast_temperature
            anchors = _unit_coordinates(rows[:, first], hyperedges[first]) @ overlap
            candidates = _unit_coordinates(table[:, second], hyperedges[second])
            total = total + table_contrast(anchors, candidates, ids, ids)
        return total


def _unit_coordinates(weights: Tensor, vectors: Tensor) -> Tensor:
    """Weights ``[n, h]`` divided by the norm of the sum of the vectors ``[h, d]`` that they weight."""
    norms = torch.linalg.vector_norm(weights @ vectors, dim=-1, keepdim=True)
    return weights / norms.clamp_min(_SMALLEST_NORM)


def _rows(members: Tensor, *ids: Tensor) -> tuple[Tensor, ...]:
    """Memberships ``[batch, M, h]`` for each id vector."""
    return tuple(row.unflatten(1, members.shape[1:]) for row in gather(members.flatten(1), *ids))


def _gumbel_noise(like: Tensor) -> Tensor:
    # Drawn as float32 whatever the model's type, as is the dropout: float64 then sees the same numbers.
    return torch.empty(like.shape, device=like.device).exponential_().log_().neg_().to(like.dtype)
