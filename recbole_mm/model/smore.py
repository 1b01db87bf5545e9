"""SMORE: spectrum-based modality representation fusion (WSDM 2025)."""

from __future__ import annotations

from functools import reduce
from typing import ClassVar

import torch
from torch import Tensor, nn

from recbole_mm.graph import SparseOperator, edgewise_maximum
from recbole_mm.model.mgcn import MGCN, MGCNSettings
from recbole_mm.nn.dropout import dropout
from recbole_mm.registry import register_model
from recbole_mm.settings import Count, Counts, Layers, Rate, Weight


class SMORESettings(MGCNSettings):
    """SMORE (WSDM 2025): the published best settings of Sports. Of Baby: n_layers 4, knn_k [40, 15] (visual,
    textual), contrast_weight 0.01, gate_dropout 0.1; of Clothing: knn_k [40, 10], contrast_weight 0.01 and reg_weight
    0.00001.
    """

    n_layers: Layers = 3
    """Layers L on the user-item graph."""
    knn_k: Count | Counts = 10  # type: ignore[assignment]  # MGCN takes one number alone
    """Neighbours k per item, itself included; a list: per modality."""
    contrast_weight: Weight = 0.03
    """Weight of the InfoNCE of side information and content."""
    gate_dropout: Rate = 0
    """Dropout of the preference gates."""

    published: ClassVar = {"valid_metric": "Recall@20", "stopping_step": 20}


@register_model(
    settings=SMORESettings,
    paper="Spectrum-based modality representation fusion graph convolutional network for multimodal "
    "recommendation",
    year=2025,
    needs="features, trained as copies; item graphs are built and cached",
)
class SMORE(MGCN):
    r"""MGCN whose modalities are filtered in the frequency domain and there fused into one more view.

    With F the orthonormal real Fourier transform along the d dimensions and complex filters K:

    .. math::
        \hat{x}^m = F^{-1}(F(x^m) \odot K^m), \quad
        \hat{x}^f = F^{-1}\Big(\prod_m F(x^m) \odot K^f\Big)

    feed the purifiers of the views Z (see :class:`MGCN`); the graph of the fused view f is the edgewise
    maximum of the modalities' graphs. The fused view selects dimensions of the others, behaviour gates all:

    .. math::
        a^m = \mathrm{softmax}_d\, q^m(Z^f), \quad
        side = \tfrac{1}{M + 1} \Big( \sum_m p^m \odot a^m \odot Z^m + p^f \odot Z^f \Big)

    with dropout on the gates p, one draw per user and item. The paper has two modalities; the product runs
    over the spectra of all there are.
    """

    settings: SMORESettings

    def build_item_graphs(self) -> list[SparseOperator]:
        ks = _per_modality(self.settings.knn_k, self.modalities)
        graphs = [self.item_graph(name, k, "similarity") for name, k in zip(self.modalities, ks, strict=True)]
        return [*graphs, edgewise_maximum(graphs)]

    def _build_fusion(self) -> None:
        self.contrast_weight: float = self.settings.contrast_weight
        self.contrast_temperature: float = self.settings.contrast_temperature
        self.gate_dropout: float = self.settings.gate_dropout
        size = self.embedding_size
        self.preferences = nn.Linear(size, len(self.item_graphs) * size)
        # Real and imaginary part of each frequency: optimizers and checkpoints hold real numbers.
        self.filters = nn.Parameter(torch.randn(len(self.modalities) + 1, size // 2 + 1, 2))
        self.queries = nn.ModuleList(
            nn.Sequential(nn.Linear(size, size), nn.Tanh(), nn.Linear(size, size, bias=False))
            for _ in self.modalities
        )

    @property
    def adapters_purify(self) -> bool:
        """Never: here the spectrum stands between the adapted features and the purifiers."""
        return False

    def purifier_inputs(self) -> list[Tensor]:
        """The filtered modalities and their fusion, ``[n_items, d]`` each."""
        spectra = [torch.fft.rfft(x, norm="ortho") for x in self.projections.project_all()]
        spectra.append(reduce(torch.mul, spectra))
        filters = torch.view_as_complex(self.filters)
        return [
            torch.fft.irfft(spectrum * response, n=self.embedding_size, norm="ortho")
            for spectrum, response in zip(spectra, filters, strict=True)
        ]

    def side_information(self, content: Tensor, views: Tensor) -> Tensor:
        """side of some nodes, ``[n, d]``, from C ``[n, d]`` and views ``[n, M + 1, d]``, fused last."""
        gates = dropout(self.gates(content), self.gate_dropout, self.training)
        fused = views[:, -1]
        selected = [torch.softmax(query(fused), dim=1) * views[:, m] for m, query in enumerate(self.queries)]
        return (gates * torch.stack([*selected, fused], dim=1)).sum(dim=1) / views.shape[1]


def _per_modality(k: int | list[int], modalities: list[str]) -> list[int]:
    """The key `knn_k`: one number for all modalities, or one for each."""
    ks = [k] * len(modalities) if isinstance(k, int) else list(k)
    if len(ks) != len(modalities):
        raise ValueError(f"knn_k: {k} must be one number, or one for each of {', '.join(modalities)}")
    return ks
