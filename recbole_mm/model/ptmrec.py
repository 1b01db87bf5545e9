"""PTMRec: parameter-efficient tuning of a CLIP for a recommender, in two stages."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from recbole.utils import get_model
from torch import Tensor, nn

from recbole_mm.encoder import TuningSettings, load_dual_encoder, tune
from recbole_mm.encoder.pretrained import memory_errors
from recbole_mm.extraction.contents import Contents, Pictures, Texts
from recbole_mm.extraction.item_inputs import ItemInputs, check_made_by, image_inputs, text_inputs
from recbole_mm.model.base import MultimodalRecommender
from recbole_mm.model.settings import ModelSettings
from recbole_mm.nn.knowledge_transfer import knowledge_transfer_loss
from recbole_mm.registry import MODELS, register_model
from recbole_mm.settings import Count, Names, Positive, Weight
from recbole_mm.trainer.stage_one import BackboneSettings, backbone_weights, load_backbone

BACKBONES = ("FREEDOM", "MGCN", "SMORE", "VBPR")


class PTMRecSettings(ModelSettings):
    """PTMRec; sizes as the paper's parameter counts tell (CLIP ViT-B/16). All else is the backbone's own."""

    backbone: str = "FREEDOM"
    """FREEDOM, MGCN, SMORE, VBPR."""
    backbone_of_backbone: str = "LayerGCN"
    """The backbone's own `backbone` key, where it has one."""
    encoder: str | None = None
    """Folder or hub name of the CLIP that made the features (python -m recbole_mm extract)."""
    peft: Literal["prompt", "lora", "adapter", "none"] = "prompt"
    """What of the encoder trains: prompt, lora, adapter; none is stage one alone."""
    prompt_depth: Count = 9
    """J: blocks with prompts of their own, in both towers."""
    prompt_length: Count = 2
    """n: prompts of a block."""
    lora_rank: Count = 8
    """Rank of the change of each attention projection."""
    lora_alpha: Positive = 8
    """The change is scaled by lora_alpha / lora_rank."""
    bottleneck: Count = 4
    """An adapter's hidden width is the tower's divided by this."""
    image_modality: str = "visual"
    """The modality of the encoder's image tower."""
    text_modality: str = "textual"
    """The modality of its text tower."""
    images: str | None = None
    """Folder of pictures by item id; images/ beside the .inter if not set."""
    text_fields: Names = ["title", "genres", "plot"]
    """Fields of the .item file that make an item's text."""
    two_stage: bool = True
    """False: encoder and backbone from scratch together, without transfer."""
    transfer_weight: Weight = 1.0
    """mu, weight of the knowledge transfer; 0 is "w/o loss"."""
    transfer_direction: Literal["forward", "reverse"] = "forward"
    """forward: KL(behaviour || modality), reverse: KL(modality || behaviour)."""
    transfer_stop_users: bool = False
    """True: no gradient of the transfer to the users."""
    tune_backbone: bool = True
    """False: in stage two the encoder alone trains."""
    micro_batch_size: Count = 128
    """Pairs whose positive items are encoded at once."""
    accumulation_steps: Count = 12
    """Micro-batches of one step of the optimizer."""
    mixed_precision: bool = True
    """Encode in bfloat16, where the device has it."""
    gradient_checkpointing: bool = False
    """Compute the encoder's inner states twice instead of keeping them."""

    defaults: ClassVar = {}
    published: ClassVar = {}


@register_model(
    settings=PTMRecSettings,
    paper="PTMRec: parameter-efficient tuning of CLIP for recommendation",
    year=2025,
    modalities="visual and textual, one or both, made by the encoder; others stay as they are",
    backbones=BACKBONES,
    wraps_backbone=True,
    staged=True,
)
class PTMRec(MultimodalRecommender):
    r"""A recommender on features of a CLIP, then both tuned together, the CLIP in few parameters.

    Stage one trains the backbone on the features as extracted, with its own loss. Stage two encodes each batch's
    positive items anew and trains the encoder's prompts (or LoRA, or adapters) with the backbone,

    .. math::
        L = L_{backbone} + \mu \sum_m KL(T \| Q^m),

    see :func:`~recbole_mm.nn.knowledge_transfer.knowledge_transfer_loss`. All other items' features come from a table,
    which keeps what was encoded last and is refreshed as a whole before each evaluation. Item graphs stay those of
    stage one.

    Keys: ``peft`` (``none`` is "CLIP-frozen", stage one alone), ``two_stage`` (False is "CLIP-prompt", both from
    scratch without transfer), ``transfer_weight`` (mu; 0 is "w/o loss").
    """

    adapts_features = True  # in its backbone, whose adapters are built there
    takes_late_fusion = True  # where its backbone does
    projected_features = ()
    trainer_class = "recbole_mm.trainer.tuning_trainer.TuningTrainer"
    without_stage_two = "peft: none"
    other_parameter_name = [*MultimodalRecommender.other_parameter_name, "stage"]

    @classmethod
    def check_backbone(cls, config) -> None:
        """Raise ValueError unless the backbone has vectors of users' and items' behaviour."""
        name = config["backbone"]
        if name not in MODELS or MODELS.get(name).behaviour_tables is MultimodalRecommender.behaviour_tables:
            raise ValueError(f"backbone: '{name}' cannot be tuned with PTMRec; choose {', '.join(BACKBONES)}")

    def __init__(self, config, dataset):
        super().__init__(_WithConstantFeatures(config), dataset)
        for modality in self.modalities:  # the backbone may train what the data set gave us
            self.register_buffer(f"{modality}_feature", self.feature(modality).clone(), persistent=False)
        self.check_backbone(config)
        name = self.settings.backbone
        self.backbone_name: str = name
        settings = BackboneSettings(config)
        self.backbone = get_model(name)(settings, dataset)
        self.backbone_settings = settings.read
        self.backbone.trainer_starts_epochs = True
        for modality in self.modalities:  # part of every checkpoint, trained or not: stage two changes them
            if not isinstance(self.backbone.feature(modality), nn.Parameter):
                self._replace_feature(modality)
        self.transfer_weight: float = self.settings.transfer_weight if self.settings.two_stage else 0.0
        self.transfer_direction: str = self.settings.transfer_direction
        self.stop_users: bool = self.settings.transfer_stop_users
        self.tunes_backbone: bool = self.settings.tune_backbone
        self.micro_batch_size: int = self.settings.micro_batch_size
        self.mixed_precision: bool = self.settings.mixed_precision
        self.normalises: bool = config["normalize_feature"]
        self._build_encoder(config, dataset)
        self.stages = self._choose_stages(self.settings.two_stage)
        self._is_stale = False
        self.enter_stage(self.stages[0])

    # ---------------------------------------------------------------- the encoder

    def _build_encoder(self, config, dataset) -> None:
        """The encoder, outside torch's registration, so that of it only what trains is saved and copied."""
        self.tuning: str = self.settings.peft
        self.tuned = nn.ParameterDict()
        self._encoder = []
        if self.tuning == "none":
            return
        if self.settings.encoder is None:
            raise ValueError("encoder: PTMRec needs the folder or hub name of the CLIP that made the features")
        sizes = {key: getattr(self.settings, key) for key in TuningSettings.__annotations__}
        encoder = tune(load_dual_encoder(self.settings.encoder), self.tuning, TuningSettings(**sizes))
        encoder.checkpoints_gradients = self.settings.gradient_checkpointing
        self._encoder = [encoder]
        self.tuned.update({name.replace(".", "/"): value for name, value in encoder.tunable().items()})
        self._sources = self._find_sources(config, dataset)
        self._ids = list(map(str, dataset.field2id_token[dataset.iid_field]))
        self._inputs: dict[str, ItemInputs] = {}

    @property
    def encoder(self):
        """The tuned :class:`~recbole_mm.encoder.DualEncoder`; there is none with ``peft: none``."""
        return self._encoder[0]

    @property
    def n_parameters(self) -> int:
        """Number of all parameters of backbone and encoder, frozen ones included."""
        distinct = {*self.parameters(), *(value for encoder in self._encoder for value in encoder.parameters())}
        return sum(parameter.numel() for parameter in distinct)

    def _find_sources(self, config, dataset) -> dict[str, tuple]:
        """By modality that the encoder makes: its kind and where its contents are."""
        folder = Path(dataset.dataset_path)
        sources = {}
        if self.settings.image_modality in self.modalities:
            sources[self.settings.image_modality] = ("image", folder, Path(self.settings.images or folder / "images"))
        if self.settings.text_modality in self.modalities:
            sources[self.settings.text_modality] = ("text", folder, self.settings.text_fields)
        if not sources:
            raise ValueError(
                f"image_modality: {config['image_modality']} and text_modality: {config['text_modality']} are not in "
                f"use, which are {', '.join(self.modalities)}; there is nothing to tune the encoder for"
            )
        for modality in sources:
            file = folder / f"{dataset.dataset_name}.{modality}.arrow"
            check_made_by(self.encoder, file, modality, self.feature(modality).shape[1])
        return sources

    def find_contents(self) -> dict[str, Contents]:
        """Pictures and texts by modality, not yet read; raises where there are none, before hours are trained."""
        return {
            modality: Pictures(folder, where) if kind == "image" else Texts(folder, list(where))
            for modality, (kind, folder, where) in self._sources.items()
        }

    def _read_contents(self) -> None:
        """Pixels and tokens of all items; pictures are read once and kept as bytes."""
        if self._inputs:
            return
        for modality, contents in self.find_contents().items():
            collect = image_inputs if self._sources[modality][0] == "image" else text_inputs
            self._inputs[modality] = inputs = collect(self.encoder, contents, self._ids)
            logging.getLogger().info(
                f"{modality}: {len(inputs.items)} items to encode, {len(inputs.missing)} without contents keep their "
                f"features; texts cut to the context so far: {self.encoder.truncated}"
            )

    def _encode(self, modality: str, items: Tensor) -> Tensor:
        """Fresh features ``[n, width]`` of items that have contents."""
        tower = self.encoder.image_features if self._sources[modality][0] == "image" else self.encoder.text_features
        device = items.device
        self.encoder.to(device)
        # bfloat16 has float32's range and needs no scaling of the loss
        enabled = self.mixed_precision and device.type == "cuda" and torch.cuda.is_bf16_supported()
        with torch.autocast(device.type, torch.bfloat16, enabled=enabled):
            rows = self._inputs[modality].features(tower, items, device).float()
        return F.normalize(rows, dim=1) if self.normalises else rows

    # ---------------------------------------------------------------- stages

    def _choose_stages(self, two_stage: bool) -> tuple[str, ...]:
        if self.tuning == "none":
            return ("one",)
        return ("one", "two") if two_stage else ("two",)

    def enter_stage(self, stage: str) -> None:
        """Begin a stage: in ``two`` the encoder owns the features, which start as extracted."""
        self.stage = stage
        for parameter in self.tuned.values():
            parameter.requires_grad_(stage == "two")
        if stage == "two":
            for modality in self._sources:
                self._replace_feature(modality)
            self.backbone.requires_grad_(self.tunes_backbone)
            self.backbone.train_batch_size = self.micro_batch_size  # what some regularisers are divided by

    def _replace_feature(self, modality: str) -> None:
        """Give the backbone a table as extracted, saved in checkpoints and not trained by the optimizer."""
        delattr(self.backbone, f"{modality}_feature")
        self.backbone.register_buffer(f"{modality}_feature", self.feature(modality).clone())

    def load_stage_one(self, file: str, dataset) -> None:
        """Take the backbone's weights from the first stage of another run, or from a run of the backbone itself.

        Raises ValueError naming both sides where the checkpoint is of another backbone, stage, other settings or data.
        """
        weights = backbone_weights(file, self, dataset)
        ours = self.backbone.state_dict()
        for modality in self.modalities:
            name = f"{modality}_feature"
            weights.setdefault(name, ours[name])  # a backbone that trains no copies does not save them
        load_backbone(self.backbone, weights, file)

    def before_epoch(self, epoch: int) -> None:
        """What the backbone does before an epoch."""
        self.backbone.start_epoch(epoch)

    def load_other_parameter(self, para) -> None:
        """The backbone's graphs of an epoch are those of the epoch that the checkpoint was written in."""
        super().load_other_parameter(para)
        self.backbone.epochs_started = self.epochs_started

    # ---------------------------------------------------------------- features

    @torch.no_grad()
    def refresh(self) -> None:
        """Encode all items again, where the encoder has changed since the last time."""
        if not self._is_stale:
            return
        self._read_contents()
        for modality, inputs in self._inputs.items():
            table = self.backbone.feature(modality)
            with memory_errors(f"lower micro_batch_size ({self.micro_batch_size})"):
                for items in inputs.items.to(table.device).split(self.micro_batch_size):
                    table[items] = self._encode(modality, items)
        self._is_stale = False

    @contextmanager
    def _fresh_features(self, items: Tensor) -> Iterator[None]:
        """Within the context the backbone sees the items' features as encoded now, with their gradient."""
        self._read_contents()
        tables = {modality: self.backbone.feature(modality) for modality in self._sources}
        encoded = {}
        for modality, table in tables.items():
            present = self._inputs[modality].among(items)
            if len(present):
                rows = self._encode(modality, present)
                encoded[modality] = (present, rows.detach())
                setattr(self.backbone, f"{modality}_feature", table.index_copy(0, present, rows))
        try:
            yield
        finally:
            for modality, table in tables.items():
                setattr(self.backbone, f"{modality}_feature", table)
        for modality, (present, rows) in encoded.items():
            tables[modality][present] = rows
        self._is_stale = True

    # ---------------------------------------------------------------- scores and loss

    def encode(self) -> tuple[Tensor, Tensor]:
        """The backbone's vectors."""
        return self.backbone.encode()

    def score_tables(self) -> tuple[Tensor, Tensor]:
        """The backbone's, on refreshed features."""
        self.refresh()
        return self.backbone.score_tables()

    def calculate_loss(self, interaction) -> Tensor:
        """The backbone's loss; in stage two on fresh features, and with the transfer."""
        if self.stage == "one":
            return self.backbone.calculate_loss(interaction)
        users, positives, _ = self.batch(interaction)
        with self._fresh_features(positives):
            loss = self.backbone.calculate_loss(interaction)
            if self.transfer_weight:
                loss = loss + self.transfer_weight * self._transfer(users, positives)
        return loss

    def _transfer(self, users: Tensor, positives: Tensor) -> Tensor:
        user_table, item_table = self.backbone.behaviour_tables()
        vectors = [
            self.backbone.modality_vectors(name, F.embedding(positives, self.backbone.feature(name)))
            for name in self._sources
        ]
        rows = F.embedding(users, user_table), F.embedding(positives, item_table)
        return knowledge_transfer_loss(*rows, vectors, direction=self.transfer_direction, stop_users=self.stop_users)

    def __deepcopy__(self, memo):
        """RecBole's get_flops copies every model: the frozen encoder and the contents are constants to share."""
        for encoder in self._encoder:
            memo |= {id(value): value for value in encoder.parameters() if not value.requires_grad}
            memo[id(self._inputs)] = self._inputs
        return super().__deepcopy__(memo)


class _WithConstantFeatures:
    """The configuration for PTMRec's own tables, which keep the features as extracted; the backbone trains copies."""

    def __init__(self, config):
        self._config = config

    def __getitem__(self, key: str):
        return False if key == "trainable_features" else self._config[key]

    def __contains__(self, key: str) -> bool:
        return key in self._config
