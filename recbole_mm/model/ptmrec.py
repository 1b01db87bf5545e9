"""PTMRec: parameter-efficient tuning of a CLIP for a recommender, in two stages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from recbole.config import Config
from recbole.data.interaction import Interaction
from torch import Tensor, nn

from recbole_mm.data.dataset import MultimodalDataset
from recbole_mm.model.backbone_model import BackboneModel
from recbole_mm.model.ptmrec_settings import PTMRecSettings
from recbole_mm.nn.knowledge_transfer import knowledge_transfer_loss
from recbole_mm.registry import MODELS, register_model

BACKBONES = ("FREEDOM", "MGCN", "SMORE", "VBPR")


@register_model(
    settings=PTMRecSettings,
    paper="PTMRec: parameter-efficient tuning of CLIP for recommendation",
    year=2025,
    modalities="visual and textual, one or both, made by the encoder; others stay as they are",
    backbones=BACKBONES,
    staged=True,
)
class PTMRec(BackboneModel):
    r"""A recommender on features of a CLIP, then both tuned together, the CLIP in few parameters.

    Stage one trains the backbone on the features as extracted, with its own loss. Stage two encodes each batch's
    items anew and trains the encoder's prompts (or LoRA, or adapters) with the backbone,

    .. math::
        L = L_{backbone} + \mu \sum_m KL(T \| Q^m),

    see :func:`~recbole_mm.nn.knowledge_transfer.knowledge_transfer_loss`. With ``encode_negatives: False`` only the
    positive ones are: half the encoder's work, without the gradient that the negatives owe it. All other items'
    features come from a table, which keeps what was encoded last and is refreshed as a whole before each evaluation.
    Item graphs stay those of stage one.

    Keys: ``peft`` (``none`` is "CLIP-frozen", stage one alone), ``two_stage`` (False is "CLIP-prompt", both from
    scratch without transfer), ``transfer_weight`` (mu; 0 is "w/o loss").
    """

    settings: PTMRecSettings

    trainer_class = "recbole_mm.trainer.tuning_trainer.TuningTrainer"
    kind_of_backbone = "a model with behaviour_tables()"
    refusal = "cannot be tuned with PTMRec"
    without_stage_two = "peft: none"
    other_parameter_name = [*BackboneModel.other_parameter_name, "stage"]
    contents_class: ClassVar[Callable[..., Any]]  # TunedContents of extraction, which stands above the models

    @classmethod
    def backbones(cls) -> list[str]:
        """Names of the multimodal models that define ``behaviour_tables()``.

        It gives users ``[n_users, d]`` and items ``[n_items, d]`` as behaviour alone sees them.
        """
        return [name for name in super().backbones() if hasattr(MODELS.get(name), "behaviour_tables")]

    def __init__(self, config: Config, dataset: MultimodalDataset):
        super().__init__(config, dataset)
        self.transfer_weight: float = self.settings.transfer_weight if self.settings.two_stage else 0.0
        self.transfer_direction: str = self.settings.transfer_direction
        self.stop_users: bool = self.settings.transfer_stop_users
        self.tunes_backbone: bool = self.settings.tune_backbone
        self.micro_batch_size: int = self.settings.micro_batch_size
        self._keep_extracted()
        self.tuning: str = self.settings.peft
        self.tuned = nn.ParameterDict()
        self.contents = None if self.tuning == "none" else self._build_contents(config, dataset)
        self.stages = self.stages_for(self.settings)
        self._is_stale = False
        self.enter_stage(self.stages[0])

    def _keep_extracted(self) -> None:
        """Have the features as extracted for stage two, and the backbone's in every checkpoint, trained or not."""
        self.extracted: dict[str, Tensor] = {}
        tables = self.backbone.features
        for name in tables.names:
            extracted = tables[name].detach()
            if tables[name].requires_grad:
                extracted = extracted.clone()
            else:
                tables.replace(name, extracted.clone())
            self.extracted[name] = extracted

    def _build_contents(self, config: Config, dataset: MultimodalDataset) -> Any:
        """Encoder and contents, outside torch's registration: of it only what trains is saved and copied."""
        if self.settings.encoder is None:
            raise ValueError("encoder: PTMRec needs the folder or hub name of the CLIP that made the features")
        widths = {name: table.shape[1] for name, table in self.extracted.items()}
        contents = type(self).contents_class(self.settings, dataset, widths, config)
        self.tuned.update({name.replace(".", "/"): value for name, value in contents.tunable().items()})
        return contents

    @property
    def n_parameters(self) -> int:
        """Number of all parameters of backbone and encoder, frozen ones included."""
        of_encoder = [] if self.contents is None else self.contents.encoder.parameters()
        return sum(parameter.numel() for parameter in {*self.parameters(), *of_encoder})

    def find_contents(self) -> None:
        """Raise where there are no pictures or texts, before hours are trained."""
        self.contents.find()

    # ---------------------------------------------------------------- stages

    @staticmethod
    def stages_for(settings: PTMRecSettings) -> tuple[str, ...]:
        """The stages of a run with these settings."""
        if settings.peft == "none":
            return ("one",)
        return ("one", "two") if settings.two_stage else ("two",)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """What is tuned of the encoder, and the backbone's."""
        own = [value for value in self.tuned.values() if value.requires_grad]
        return {**super().parameter_groups(), "encoder": own}

    def enter_stage(self, stage: str) -> None:
        """Begin a stage: in ``two`` the encoder owns the features, which start as extracted."""
        self.stage = stage
        for parameter in self.tuned.values():
            parameter.requires_grad_(stage == "two")
        if stage == "two":
            tables = self.backbone.features
            for name in self.contents.modalities:
                tables.replace(name, self.extracted[name].clone().to(tables[name]))
            self.backbone.requires_grad_(self.tunes_backbone)
            self.backbone.train_batch_size = self.micro_batch_size  # what some regularisers are divided by

    def take_stage_one(self, weights: dict[str, Tensor]) -> None:
        """As :meth:`BackboneModel.take_stage_one`; a backbone that trains no features has not saved them."""
        extracted = {f"{name}_feature": table for name, table in self.extracted.items()}
        super().take_stage_one(extracted | weights)

    # ---------------------------------------------------------------- features

    @torch.no_grad()
    def refresh(self) -> None:
        """Encode all items again, where the encoder has changed since the last time."""
        if not self._is_stale:
            return
        for modality in self.contents.modalities:
            table = self.backbone.feature(modality)
            self.contents.encode_into(table, modality, self.micro_batch_size)
        self._is_stale = False

    @contextmanager
    def _fresh_features(self, items: Tensor) -> Iterator[None]:
        """Within the context the backbone sees the items' features as encoded now, with their gradient."""
        encoded, tables = {}, self.backbone.features
        for modality in self.contents.modalities:
            present = self.contents.inputs(modality).among(items)
            if len(present):
                encoded[modality] = (present, self.contents.encode(modality, present))
        fresh = {modality: tables[modality].index_copy(0, *rows) for modality, rows in encoded.items()}
        with tables.substituted(fresh):
            yield
        for modality, (present, rows) in encoded.items():
            tables[modality][present] = rows.detach()
        self._is_stale = True

    # ---------------------------------------------------------------- scores and loss

    def score_tables(self) -> tuple[Tensor, Tensor]:
        """The backbone's, on refreshed features."""
        self.refresh()
        return super().score_tables()

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """The backbone's loss; in stage two on fresh features, and with the transfer."""
        if self.stage == "one":
            return self.backbone.calculate_loss(interaction)
        users, positives, negatives = self.batch(interaction)
        items = torch.cat([positives, negatives]) if self.settings.encode_negatives else positives
        with self._fresh_features(items):
            loss = self.backbone.calculate_loss(interaction)
            if self.transfer_weight:
                loss = loss + self.transfer_weight * self._transfer(users, positives)
        return loss

    def _transfer(self, users: Tensor, positives: Tensor) -> Tensor:
        user_table, item_table = self.backbone.behaviour_tables()
        vectors = [
            self.backbone.modality_vectors(name, F.embedding(positives, self.backbone.feature(name)))
            for name in self.contents.modalities
        ]
        rows = F.embedding(users, user_table), F.embedding(positives, item_table)
        return knowledge_transfer_loss(*rows, vectors, direction=self.transfer_direction, stop_users=self.stop_users)

    def constants(self) -> Iterator[Any]:
        """The frozen encoder, the contents and the features as extracted too."""
        yield from super().constants()
        yield from self.extracted.values()
        if self.contents is not None:
            yield from self.contents.constants()
