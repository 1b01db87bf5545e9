"""The base class of every multimodal recommender."""

from __future__ import annotations

from recbole.config import Config
from torch import Tensor, nn

from recbole_mm.data.dataset import MultimodalDataset
from recbole_mm.model.adapters import FeatureAdapters
from recbole_mm.model.feature_recommender import FeatureRecommender
from recbole_mm.model.projections import Projections


class MultimodalRecommender(FeatureRecommender):
    """A recommender on modality features, their item graphs and the graph of the training interactions.

    One that has a part of :class:`~recbole_mm.model.projections.Projections` takes the key ``feature_adapter``.

    Attributes:
        adapters: what stands behind the projected features.
    """

    feature_adapters: nn.ModuleDict

    def __init__(self, config: Config, dataset: MultimodalDataset):
        super().__init__(config, dataset)
        self.adapters = FeatureAdapters(self, self.projected_features, config)

    @property
    def projected_features(self) -> list[str]:
        """Names of the features that are projected by themselves, each with an adapter of its own."""
        return self.modalities

    @property
    def projecting(self) -> Projections | None:
        """The part that projects features; None of a model without."""
        return next((part for part in self.children() if isinstance(part, Projections)), None)

    @property
    def adapts_features(self) -> bool:
        """Whether the model has a place for a feature adapter."""
        return self.projecting is not None

    @property
    def behaviour_vectors(self) -> Tensor | None:
        """ID vectors of items, ``[n_items, d]``, that adapters read: the model's `item_embedding`, where it has one."""
        return getattr(self, "item_embedding", None)

    def project_features(self, modality: str, features: Tensor) -> Tensor:
        """Projected features ``[n, d]``, as adapters take them, of any features ``[n, width]`` of a modality.

        They need not be rows of :meth:`feature`: an analysis asks what the model makes of a changed picture.

        Raises:
            ValueError: the model does not project this modality, or not by itself.
        """
        part = self.projecting
        alone = [] if part is None else [name for name in part.names if name in self.modalities]
        if part is None or modality not in alone:
            raise ValueError(
                f"{type(self).__name__} does not project '{modality}' features by themselves (those it does: "
                f"{', '.join(alone) or 'none'})"
            )
        return part.of(modality, features)

    def modality_vectors(self, modality: str, features: Tensor) -> Tensor:
        """One modality's share of items, ``[n, d]``, of features ``[n, width]``: as projected."""
        return self.project_features(modality, features)

    def start_epoch(self, epoch: int) -> None:
        """As :meth:`Recommender.start_epoch`; raises ValueError where the model has no place for its adapter."""
        self.adapters.check()
        super().start_epoch(epoch)

    @property
    def id_tables(self) -> tuple[Tensor, Tensor]:
        """Raw ID vectors of users ``[n_users, d]`` and items ``[n_items, d]``; raises ValueError of a model without."""
        users, items = getattr(self, "user_embedding", None), self.behaviour_vectors
        if not (isinstance(users, Tensor) and isinstance(items, Tensor)):
            raise ValueError(f"{type(self).__name__} has no ID vectors of users and items of one width")
        return users, items
