"""MICRO: latent structure mining with contrastive modality fusion (TKDE 2022)."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from recbole.config import Config
from recbole.data.interaction import Interaction
from torch import Tensor, nn

from recbole_mm.data.dataset import MultimodalDataset
from recbole_mm.model.lattice import LATTICE, LATTICESettings
from recbole_mm.nn.fusion import QueryAttention
from recbole_mm.nn.learned_graph import BlendedGraph, normalise_symmetrically
from recbole_mm.nn.loss import two_table_contrast
from recbole_mm.nn.sums import total
from recbole_mm.registry import register_model
from recbole_mm.setting_conditions import acts_where
from recbole_mm.settings import Positive, Weight


class MICROSettings(LATTICESettings):
    """MICRO (TKDE 2022), as in its authors' public code: LATTICE's settings, and the contrast."""

    contrast_weight: Weight = 0.03
    """Weight of the contrast of each modality with their fusion."""
    contrast_temperature: Annotated[Positive, acts_where("contrast_weight")] = 0.5
    """tau of the contrast."""

    aliases: ClassVar = {"temperature": "contrast_temperature"}


@register_model(
    settings=MICROSettings,
    paper="Latent structure mining with contrastive modality fusion for multimedia recommendation",
    year=2022,
    needs="features, trained as copies; item graphs are built, cached and learned further",
)
class MICRO(LATTICE):
    r"""LATTICE with one item graph per modality, fused by attention, and a contrast of parts and whole.

    With :math:`N`, :math:`\mathrm{knn}`, :math:`x^m` and :math:`f^m` of :class:`LATTICE`:

    .. math::
        G^m = (1 - \lambda)\, N(\mathrm{knn}(x^m)) + \lambda\, N(\mathrm{knn}(f^m)), \quad
        h^m = (G^m)^{L'} E_i

        \alpha = \mathrm{softmax}_m\, q^T \tanh(W h^m + b), \quad h = \sum_m \alpha^m h^m, \quad
        i = i' + h / \|h\|

    Loss: as LATTICE, and ``contrast_weight`` times the sum over the modalities of the contrast of all items'
    rows of :math:`h^m` with those of h (:func:`recbole_mm.nn.loss.two_table_contrast`).
    """

    settings: MICROSettings

    def __init__(self, config: Config, dataset: MultimodalDataset):
        super().__init__(config, dataset)
        self.contrast_weight: float = self.settings.contrast_weight
        self.contrast_temperature: float = self.settings.contrast_temperature

    def _build_fusion(self) -> None:
        self.attention = QueryAttention(self.embedding_size)

    def graph_parameters(self) -> list[nn.Parameter]:
        """Those of the projected features."""
        return self.feature_parameters()

    def build_graphs(self) -> list[BlendedGraph]:
        """The item graphs of the current parameters, with gradients: one per modality."""
        graphs = []
        for (neighbors, cosines), raw in zip(self.similar_items(), self.raw_graphs, strict=True):
            values = normalise_symmetrically(neighbors, cosines)
            graphs.append(BlendedGraph(neighbors, values, [raw], values.new_ones(1), self.raw_graph_weight))
        return graphs

    def fuse(self, views: list[Tensor]) -> Tensor:
        """h of all items, ``[n_items, d]``, from ``h^m`` of each modality."""
        stacked = torch.stack(views, dim=1)
        return (self.attention(stacked) * stacked).sum(dim=1)

    def batch_loss(self, interaction: Interaction) -> Tensor:
        """BPR and the regulariser of the batch's final rows, and the contrast of all items."""
        views = self.item_views()
        fused = self.fuse(views)
        terms = self.ranking_terms(interaction, fused)
        if self.contrast_weight:
            contrasts = [two_table_contrast(view[1:], fused[1:], self.contrast_temperature) for view in views]
            terms["contrast"] = self.contrast_weight * total(contrasts)
        return self.sum_of_terms(**terms)
