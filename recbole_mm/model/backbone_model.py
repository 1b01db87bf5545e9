"""The base class of models around another model, their backbone: MARGO and PTMRec."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recbole.config import Config
from recbole.utils import get_model
from torch import Tensor, nn

from recbole_mm.data.dataset import MultimodalDataset
from recbole_mm.io.names import closest
from recbole_mm.model.base import MultimodalRecommender
from recbole_mm.model.recommender import Recommender
from recbole_mm.model.settings import ModelSettings
from recbole_mm.registry import MODELS, variants


class BackboneModelSettings(ModelSettings):
    """Settings of a model around a backbone, whose own settings are set beside them."""

    backbone: str = "FREEDOM"
    """The backbone."""


class BackboneSettings:
    """The configuration as the backbone sees it.

    Attributes:
        read: every key that the backbone has read, with its value.
    """

    def __init__(self, config: Config):
        self._config = config
        self.read: dict[str, Any] = {}

    def __getitem__(self, key: str) -> Any:
        value = self._config[key]
        self.read[key] = value
        return value

    def __contains__(self, key: str) -> bool:
        return key in self._config


class BackboneModel(Recommender):
    """A model around a multimodal one that the key ``backbone`` names, which has the features, graphs and adapters.

    A model derives from it, says in :meth:`backbones` which it can wrap, and defines ``calculate_loss``.

    Attributes:
        backbone: the wrapped model.
        backbone_name: its name.
        backbone_settings: every key that the backbone has read, with its value.
    """

    settings: BackboneModelSettings
    settings_class = BackboneModelSettings
    kind_of_backbone = "a multimodal model"  # what `backbones` are
    refusal = "reads no features"  # why another model of ours is none of them

    def __init__(self, config: Config, dataset: MultimodalDataset):
        super().__init__(config, dataset)
        self.check_backbone(config)
        self.backbone_name: str = self.settings.backbone
        settings = BackboneSettings(config)
        self.backbone: MultimodalRecommender = get_model(self.backbone_name)(settings, dataset)
        self.backbone_settings = settings.read
        self.backbone.trainer_starts_epochs = True
        self.modalities = self.backbone.modalities

    @classmethod
    def id_only_model_of(cls, settings: Mapping[str, Any]) -> str | None:
        """That of the backbone."""
        return id_only_model(settings["backbone"], settings)

    @classmethod
    def backbones(cls) -> list[str]:
        """Names of the models that can be the backbone: by default all multimodal ones."""
        return [name for name in MODELS if issubclass(MODELS.get(name), MultimodalRecommender)]

    @classmethod
    def check_backbone(cls, config: Config) -> None:
        """Raise ValueError where the backbone is none of :meth:`backbones`; of a variant it names the base."""
        name, possible = config["backbone"], cls.backbones()
        if name in possible:
            return
        base = variants().get(name)
        if base in possible:
            own = ", ".join(f"{key}: {value}" for key, value in MODELS.entry(base).facts["variants"][name].items())
            raise ValueError(f"backbone: '{name}' is {base} with settings of its own; use backbone: {base} with {own}")
        reason = cls.refusal if name in MODELS else "is no model of recbole_mm"
        raise ValueError(
            f"backbone: '{name}' {reason}{closest(str(name), possible)}; choose {cls.kind_of_backbone}: "
            f"{', '.join(possible)}"
        )

    @property
    def adapts_features(self) -> bool:
        """Whether the backbone has a place for a feature adapter."""
        return self.backbone.adapts_features

    def encode(self) -> tuple[Tensor, Tensor]:
        """The backbone's vectors."""
        return self.backbone.encode()

    def score_tables(self) -> tuple[Tensor, Tensor]:
        """The backbone's."""
        return self.backbone.score_tables()

    def before_epoch(self, epoch: int) -> None:
        """What the backbone does before an epoch."""
        self.backbone.start_epoch(epoch)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """The backbone's."""
        return self.backbone.parameter_groups()

    def idle_parameters(self) -> list[nn.Parameter]:
        """The backbone's."""
        return self.backbone.idle_parameters()

    def records(self) -> dict[str, float]:
        """The backbone's, and its own."""
        return {**self.backbone.records(), **super().records()}

    def diagnostics(self) -> dict[str, float]:
        """The backbone's, and its own."""
        return {**self.backbone.diagnostics(), **super().diagnostics()}

    def take_stage_one(self, weights: dict[str, Tensor]) -> None:
        """Have the backbone go on from weights of its own; raises RuntimeError where names or shapes are others."""
        self.backbone.load_state_dict(weights)

    def load_other_parameter(self, para: Any) -> None:
        """The backbone's graphs of an epoch are those of the epoch that the checkpoint was written in."""
        super().load_other_parameter(para)
        self.backbone.epochs_started = self.epochs_started


def id_only_model(name: str, settings: Mapping[str, Any]) -> str | None:
    """Name of the model of IDs alone that a model of ours stands on, under these settings over its defaults.

    None where it stands on none, as those of IDs alone do, and for a model that is not known here.
    """
    base = variants().get(name, name)
    if base not in MODELS:
        return None
    kind = MODELS.get(base)
    of_variant = MODELS.entry(base).facts["variants"].get(name, {})
    return kind.id_only_model_of({**kind.settings_class.default_values(), **of_variant, **settings})
