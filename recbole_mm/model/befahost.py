"""BeFAHost: the recommender that BeFA's released code calls LATTICE (AAAI 2025)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from recbole_mm.model.mgcn import MGCN
from recbole_mm.model.settings import ModelSettings
from recbole_mm.nn.fusion import QueryAttention
from recbole_mm.registry import register_model
from recbole_mm.settings import Count, Layers, Weight


class BeFAHostSettings(ModelSettings):
    """The host of BeFA's released code (AAAI 2025), which is there called LATTICE. The paper prints its grid and
    lambda 4.
    """

    feature_adapter: str = "befa"
    """none is the host alone, with MGCN's gate in the adapter's place."""
    trainable_features: bool = True
    """Whether the features are trained, from their values as loaded."""
    n_layers: Layers = 2
    """Layers L on the user-item graph."""
    knn_k: Count = 10
    """Neighbours k per item in each modality's graph, itself included."""
    reg_weight: Weight = 0.0001
    """Weight of half the squares of the final rows, over the batch size."""

    defaults: ClassVar = {
        "learning_rate": 0.001, "lr_decay": {"factor": 0.96, "epochs": 50}, "train_batch_size": 2048, "epochs": 1000,
    }
    published: ClassVar = {"valid_metric": "Recall@20", "stopping_step": 10}


@register_model(
    settings=BeFAHostSettings,
    paper="BeFA: a general behavior-driven feature adapter for multimedia recommendation (host of its released code)",
    year=2025,
    needs="features, trained as copies; item graphs are built and cached",
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

    settings: BeFAHostSettings  # type: ignore[assignment]  # those of MGCN's contrast are not among them

    def _build_fusion(self) -> None:
        self.contrast_weight = 0.0
        self.unused = QueryAttention(self.embedding_size)

    def side_information(self, content: Tensor, views: Tensor) -> Tensor:
        """side of some nodes, ``[n, d]``: the mean of their views ``[n, M, d]``."""
        return views.mean(dim=1)
