"""PTMRec: parameter-efficient tuning of a CLIP for a recommender, in two stages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from recbole.config import Config
from recbole.data.interaction import Interaction
from torch import Tensor, nn

from recbole_mm.data.dataset import MultimodalDataset
from recbole_mm.model.backbone_model import BackboneModel
from recbole_mm.model.behaviour_target import BehaviourTarget, tables_computed_once
from recbole_mm.model.fresh_features import FreshFeatures
from recbole_mm.model.ptmrec_settings import PTMRecSettings
from recbole_mm.model.rebuilt_graphs import RebuiltGraphs
from recbole_mm.nn.knowledge_transfer import knowledge_transfer_loss
from recbole_mm.registry import MODELS, register_model

BACKBONES = ("FREEDOM", "MGCN", "SMORE", "VBPR", "BM3", "LATTICE", "DRAGON")


@register_model(
    settings=PTMRecSettings,
    paper="PTMRec: parameter-efficient tuning of CLIP for recommendation",
    year=2025,
    modalities="visual and textual, one or both, made by the encoder; others stay as they are",
    backbones=BACKBONES,
    staged=True,
    needs="features, pictures and texts, and the CLIP that made them",
)
class PTMRec(BackboneModel):
    r"""A recommender on features of a CLIP, then both tuned together, the CLIP in few parameters.

    Stage one trains the backbone on the features as extracted, with its own loss. Stage two encodes each step's
    items anew and trains the encoder's prompts (or LoRA, or adapters) with the backbone,

    .. math::
        L = L_{backbone} + \mu \sum_m KL(T \| Q^m),

    see :func:`~recbole_mm.nn.knowledge_transfer.knowledge_transfer_loss`. The backbone's loss is of all pairs of a
    step at once; the encoder sees each of their items as one, ``micro_batch_size`` of them at a time, twice: for
    their features, and again for their gradients, so that its inner states are those of few items; ``kept_items``
    of them but once. The transfer compares the items of ``micro_batch_size`` pairs with one another. With
    ``encode_negatives: False`` only the positive ones are encoded: half the work, without the gradient that the
    negatives owe the encoder. All other features come from a table, which keeps what was encoded last and is refreshed
    before each evaluation. Constant item graphs stay stage one's, unless ``rebuild_item_graph`` has them follow.

    Keys: ``peft`` (``none`` is "CLIP-frozen", stage one alone), ``two_stage`` (False is "CLIP-prompt", both from
    scratch without transfer), ``transfer_weight`` (mu; 0 is "w/o loss"). Controls: ``tune_backbone: False`` is the
    encoder alone, ``tune_encoder: False`` a stage two on the features as extracted, with the transfer or without.
    """

    settings: PTMRecSettings

    trainer_class = "recbole_mm.trainer.tuning_trainer.TuningTrainer"
    kind_of_backbone = "a model with behaviour_tables()"
    refusal = "cannot be tuned with PTMRec"
    without_stage_two = "peft: none"
    other_parameter_name = [*BackboneModel.other_parameter_name, "stage"]
    contents_class: ClassVar[Any]  # TunedContents of extraction, which stands above the models

    @classmethod
    def backbones(cls) -> list[str]:
        """Names of the multimodal models that define ``behaviour_tables()``.

        It gives users ``[n_users, d]`` and items ``[n_items, d]`` as behaviour alone sees them.
        """
        return [name for name in super().backbones() if hasattr(MODELS.get(name), "behaviour_tables")]

    def __init__(self, config: Config, dataset: MultimodalDataset):
        super().__init__(config, dataset)
        self.transfer_weight: float = self.settings.transfer_weight if self.settings.two_stage else 0.0
        self.tunes_backbone: bool = self.settings.tune_backbone
        self.micro_batch_size: int = self.settings.micro_batch_size
        self._keep_extracted()
        self.tuning: str = self.settings.peft
        self.tuned = nn.ParameterDict()
        self.settings.check()
        self.contents = self._build_contents(config, dataset) if self.settings.has_encoder else None
        self.fresh = None
        if self.contents is not None:
            tables, kept = self.backbone.features, self.settings.kept_items
            self.fresh = FreshFeatures(self.contents, tables, self.micro_batch_size, kept)
        self.target = BehaviourTarget(self.backbone, self.settings.transfer_target)
        self.graphs = RebuiltGraphs(self.backbone, self.settings.rebuild_item_graph)
        self.stages = self.stages_for(self.settings)
        self.enter_stage(self.stages[0])

    def _keep_extracted(self) -> None:
        """Have the features as extracted for stage two, and the backbone's in every checkpoint, trained or not."""
        self.extracted: dict[str, Tensor] = {}
        tables = self.backbone.features
        for name in tables.names:
            table = tables[name].detach()
            self.extracted[name] = table.clone() if tables[name].requires_grad else table
            if not tables[name].requires_grad:
                tables.replace(name, table.clone())

    def _build_contents(self, config: Config, dataset: MultimodalDataset) -> Any:
        """Encoder and contents, outside torch's registration: of it only what trains is saved and copied."""
        widths = {name: table.shape[1] for name, table in self.extracted.items()}
        contents = type(self).contents_class(self.settings, dataset, widths, config)
        self.tuned.update({name.replace(".", "/"): value for name, value in contents.tunable().items()})
        return contents

    @property
    def n_parameters(self) -> int:
        """Number of all parameters of backbone and encoder, frozen ones included."""
        of_encoder = [] if self.contents is None else self.contents.encoder.parameters()
        return sum(parameter.numel() for parameter in {*self.parameters(), *of_encoder})

    @classmethod
    def check_files(cls, config: Config, modalities: list[str]) -> None:
        """Raise where a run would find no pictures or texts; see :meth:`Recommender.check_files`."""
        if (settings := PTMRecSettings.of(config)).has_encoder:
            cls.contents_class.check(settings, Path(config["data_path"]), modalities)

    @property
    def encoded(self) -> list[str]:
        """The modalities that the encoder makes, tuned or not."""
        if self.contents is not None:
            return self.contents.modalities
        made = (self.settings.image_modality, self.settings.text_modality)
        return [name for name in made if name in self.extracted]

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
            self.target.take(self.backbone)
            for name in self.encoded:
                tables.replace(name, self.extracted[name].clone().to(tables[name]))
            if not self.tunes_backbone:
                self.backbone.requires_grad_(False)
            # what some regularisers are divided by
            self.backbone.train_batch_size = self.micro_batch_size * self.settings.accumulation_steps

    def take_stage_one(self, weights: dict[str, Tensor]) -> None:
        """As :meth:`BackboneModel.take_stage_one`; a backbone that trains no features has not saved them."""
        extracted = {f"{name}_feature": table for name, table in self.extracted.items()}
        super().take_stage_one(extracted | weights)

    def before_epoch(self, epoch: int) -> None:
        """Also has the epoch's item graphs, of the features that it begins with, where they are to be rebuilt."""
        super().before_epoch(epoch)
        if self.fresh is not None and self.fresh.is_stale and self.settings.rebuild_item_graph == "refresh":
            self.graphs.build()
        self.graphs.begin_epoch()
        self.graphs.install(self.training)

    def train(self, mode: bool = True) -> Self:
        """As any model's, with the item graphs of training or of evaluation."""
        super().train(mode)
        self.graphs.install(mode)
        return self

    def load_other_parameter(self, para: Any) -> None:
        """Also has the item graphs of the features that were loaded."""
        super().load_other_parameter(para)
        if self.stage == "two":
            self.graphs.build()
            self.graphs.install(self.training)

    # ---------------------------------------------------------------- scores and loss

    def refresh(self) -> None:
        """Encode all items again, where the encoder has changed since the last time."""
        if self.fresh is not None and self.fresh.is_stale:
            self.fresh.refresh()
            self.graphs.build()
            self.graphs.install(self.training)

    def score_tables(self) -> tuple[Tensor, Tensor]:
        """The backbone's, on refreshed features."""
        self.refresh()
        return super().score_tables()

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """The backbone's loss; in stage two on fresh features, and with the transfer."""
        if self.stage == "one":
            return self.backbone.calculate_loss(interaction)
        users, positives = interaction[self.USER_ID], interaction[self.ITEM_ID]
        with ExitStack() as within:
            if self.fresh is not None:
                within.enter_context(self.fresh.of(self._items_to_encode(interaction)))
            within.enter_context(tables_computed_once(self.backbone))
            loss = self.backbone.calculate_loss(interaction)
            loss = sum(loss) if isinstance(loss, tuple) else loss
            if self.transfer_weight:
                transfer = self._transfer(users, positives)
                self.record(transfer=transfer, loss_transfer=self.transfer_weight * transfer)
                loss = loss + self.transfer_weight * transfer
        return loss

    def _items_to_encode(self, interaction: Interaction) -> Tensor:
        """A batch's positive items and, where they are encoded too and the backbone draws some, its negative ones."""
        items = [interaction[self.ITEM_ID]]
        if self.settings.encode_negatives and self.NEG_ITEM_ID in interaction:
            items.append(interaction[self.NEG_ITEM_ID])
        return torch.cat(items)

    def _transfer(self, users: Tensor, positives: Tensor) -> Tensor:
        """The mean over the pairs, each compared with those of its micro-batch."""
        target_users, items, query_users = self.target.tables(self.backbone)
        vectors = [
            self.backbone.modality_vectors(name, F.embedding(positives, self.backbone.feature(name)))
            for name in self.encoded
        ]
        return knowledge_transfer_loss(
            F.embedding(users, query_users),
            F.embedding(positives, items),
            vectors,
            target_users=F.embedding(users, target_users),
            group=self.micro_batch_size,
            temperature=self.settings.transfer_temperature,
            direction=self.settings.transfer_direction,
            stop_users=self.settings.transfer_stop_users,
        )

    def constants(self) -> Iterator[Any]:
        """The frozen encoder, the contents and the features as extracted too."""
        yield from super().constants()
        yield from self.extracted.values()
        if self.contents is not None:
            yield from self.contents.constants()
