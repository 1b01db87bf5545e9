"""BeFAHost: the recommender that BeFA's released code calls LATTICE (AAAI 2025)."""

from __future__ import annotations

from torch import Tensor

from recbole_mm.model.mgcn import MGCN
from recbole_mm.nn.fusion import QueryAttention
from recbole_mm.registry import register_model


@register_model(
    paper="BeFA: a general behavior-driven feature adapter for multimedia recommendation (host of its released code)",
    year=2025,
)
class BeFAHost(MGCN):
    r"""MGCN's skeleton without its contrast and its fusion: what BeFA's code has under LATTICE's name.

    With :math:`z^m` the item's ID vector gated by what the adapter, or without one MGCN's purifier, makes of the
    projected feature, and S, R and C as in :class:`MGCN`:

    .. math::
        Z^m = [R S^m z^m;\ S^m z^m], \quad side = \tfrac{1}{M} \sum_m Z^m, \quad [u; i] = C + side

    Loss: mean BPR and half the squared norm of the batch's final rows over the batch size. It has no learned graph, no
    modality weights and no normalised h, so that it is not :class:`LATTICE`; the paper's rows of that name may be of
    either. The released code makes MGCN's attention and never uses it; it is here for the parameter count.
    """

    def _build_fusion(self, config) -> None:
        self.contrast_weight = 0.0
        self.unused = QueryAttention(self.embedding_size)

    def side_information(self, content: Tensor, views: Tensor) -> Tensor:
        """side of some nodes, ``[n, d]``: the mean of their views ``[n, M, d]``."""
        return views.mean(dim=1)
