"""The settings of PTMRec."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from recbole_mm.model.backbone_model import BackboneModelSettings
from recbole_mm.model.behaviour_target import Target
from recbole_mm.model.rebuilt_graphs import When
from recbole_mm.registry import TUNINGS, NameIn
from recbole_mm.setting_conditions import ActsWhere, acts_where
from recbole_mm.settings import Count, CountOrZero, Few, Layers, Names, Place, Positive, Rate, Weight, Width, Workers

TUNES = ActsWhere("peft", lambda kind: kind != "none", "a way to tune, such as prompt")


def _tunes(way: str) -> ActsWhere:
    """A key of one of our own ways to tune; another's may read any."""
    others = {"none", "prompt", "lora", "adapter", "peft"} - {way}
    return ActsWhere("peft", lambda kind: kind not in others, way)


class PTMRecSettings(BackboneModelSettings):
    """PTMRec; sizes as the paper's parameter counts tell (CLIP ViT-B/16). All else is the backbone's own."""

    backbone: str = "FREEDOM"
    """FREEDOM, MGCN, SMORE, VBPR, BM3, LATTICE, DRAGON."""
    encoder: str | None = None
    """Folder or hub name of the CLIP that made the features (python -m recbole_mm extract)."""
    peft: Annotated[str, NameIn(TUNINGS)] = "prompt"
    """What of the encoder trains: prompt, lora, adapter, peft (peft_type); none is stage one alone."""
    prompt_depth: Annotated[Layers, _tunes("prompt")] = 9
    """J: blocks with prompts of their own, in both towers."""
    prompt_length: Annotated[Few, _tunes("prompt")] = 2
    """n: prompts of a block."""
    prompt_position: Annotated[Literal["after_start", "before_text"], _tunes("prompt")] = "after_start"
    """Of a text's prompts: behind its start-of-text token, as MaPLe has them, or before it, as Eq. 9 is printed."""
    lora_rank: Annotated[Width, _tunes("lora")] = 8
    """Rank of the change of each attention projection."""
    lora_alpha: Annotated[Positive, _tunes("lora")] = 8
    """The change is scaled by lora_alpha / lora_rank."""
    lora_targets: Annotated[Names | None, _tunes("lora")] = None
    """Names of the layers that LoRA changes, such as q_proj; the attentions' projections if not set."""
    lora_dropout: Annotated[Rate, _tunes("lora")] = 0.0
    """Share of the inputs of LoRA's changes that is dropped in training."""
    lora_dora: Annotated[bool, _tunes("lora")] = False
    """True: DoRA, in which the weights' lengths train apart from their directions."""
    bottleneck: Annotated[Width, _tunes("adapter")] = 4
    """An adapter's hidden width is the tower's divided by this."""
    image_modality: str = "visual"
    """The modality of the encoder's image tower."""
    text_modality: str = "textual"
    """The modality of its text tower."""
    images: Place | None = None
    """Folder of pictures by item id; images/ beside the .inter if not set."""
    text_fields: Names = ["title", "genres", "plot"]
    """Fields of the .item file that make an item's text."""
    two_stage: Annotated[bool, TUNES] = True
    """False: encoder and backbone from scratch together, without transfer."""
    transfer_weight: Annotated[Weight, TUNES, acts_where("two_stage", True)] = 1.0
    """mu, weight of the knowledge transfer; 0 is "w/o loss"."""
    transfer_direction: Annotated[
        Literal["forward", "reverse"], TUNES, acts_where("two_stage", True), acts_where("transfer_weight")
    ] = "forward"
    """forward: KL(behaviour || modality), reverse: KL(modality || behaviour)."""
    transfer_target: Target = "moving"
    """Whose knowledge is handed on: the backbone's tables as they move, stage one's snapshot, or the raw IDs."""
    transfer_temperature: Annotated[Positive, TUNES, acts_where("two_stage", True), acts_where("transfer_weight")] = 1.0
    """Divides the ratings of both distributions; 1 is the paper's."""
    transfer_stop_users: Annotated[bool, TUNES, acts_where("two_stage", True), acts_where("transfer_weight")] = False
    """True: no gradient of the transfer to the users."""
    encoder_learning_rate: Weight | None = None
    """Learning rate of what is tuned of the encoder alone, in stage two; that of the rest if not set."""
    encoder_warmup_steps: Annotated[CountOrZero, TUNES, acts_where("tune_encoder", True)] = 0
    """Steps of stage two in which the encoder's learning rate rises evenly from 0."""
    tune_backbone: Annotated[bool, TUNES] = True
    """False: in stage two the encoder alone trains."""
    tune_encoder: Annotated[bool, TUNES] = True
    """False: in stage two the backbone alone trains, on the features as extracted (a control)."""
    rebuild_item_graph: When = "never"
    """Constant item graphs: of stage one; of the features of each evaluation; or of each epoch's start in training too.
    """
    encode_negatives: Annotated[bool, TUNES, acts_where("tune_encoder", True)] = True
    """Whether a batch's negative items are encoded anew too; else the encoder's gradient is of positives alone."""
    micro_batch_size: Count = 128
    """Pairs that the transfer compares with one another; also items that the encoder sees at once."""
    accumulation_steps: Count = 12
    """Micro-batches of one step of the optimizer, which the backbone passes through once."""
    kept_items: Annotated[CountOrZero, TUNES, acts_where("tune_encoder", True)] = 0
    """Most items of a step and modality whose inner states stay in memory; the others are encoded twice."""
    mixed_precision: Annotated[bool, TUNES, acts_where("tune_encoder", True)] = True
    """Encode in half precision on a GPU: bfloat16 where it computes in it, else float16 with a scaled loss."""
    picture_cache: Annotated[Place | None, TUNES, acts_where("tune_encoder", True)] = None
    """Folder of resized pictures, for further runs too; pictures/ in checkpoint_dir if not set."""
    picture_workers: Annotated[Workers | None, TUNES, acts_where("tune_encoder", True)] = None
    """Processes that prepare pictures at the start of stage two; one for each processor if not set."""
    picture_memory: Annotated[Count, TUNES, acts_where("tune_encoder", True)] = 512
    """Most MB of the resized pictures that are in memory at a time."""
    gradient_checkpointing: Annotated[bool, TUNES, acts_where("tune_encoder", True)] = False
    """Compute the encoder's inner states twice instead of keeping them."""

    defaults: ClassVar = {}
    published: ClassVar = {}

    @property
    def has_encoder(self) -> bool:
        """Whether the run needs the encoder and its contents."""
        return self.peft != "none" and self.tune_encoder

    def check(self) -> None:
        """Raise ValueError for settings that leave nothing to do of what they ask for."""
        if not (self.peft == "none" or self.tune_backbone or self.tune_encoder):
            raise ValueError("tune_backbone: False and tune_encoder: False leave nothing to train; set one to True")
        if self.has_encoder and self.encoder is None:
            raise ValueError("encoder: PTMRec needs the folder or hub name of the CLIP that made the features")
        if self.transfer_target == "snapshot" and (self.peft == "none" or not self.two_stage):
            raise ValueError(
                "transfer_target: snapshot is of stage one before a stage two, and this run has one stage alone; "
                "choose moving or ids"
            )
        if self.rebuild_item_graph != "never" and not self.has_encoder:
            raise ValueError(
                f"rebuild_item_graph: {self.rebuild_item_graph} follows features that change, and this run tunes no "
                f"encoder; leave it at never"
            )
