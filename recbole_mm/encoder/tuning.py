"""Parameter-efficient tuning of a dual encoder: deep prompts, LoRA, bottleneck adapters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from recbole_mm.encoder.dual_encoder import DualEncoder
from recbole_mm.encoder.peft_tuning import ATTENTION_LAYERS, add_peft
from recbole_mm.registry import TUNINGS, register_tuning

PROMPT_STD = 0.02
ADAPTED = ("self_attn", "mlp", "layer_norm1")

@dataclass(frozen=True)
class TuningSettings:
    """Sizes of each kind of tuning; the defaults are the paper's at ViT-B/16, as its parameter counts tell.

    Attributes:
        prompt_depth: blocks with prompts of their own, J.
        prompt_length: prompts of a block, n.
        prompt_position: of a text's prompts: ``after_start`` (MaPLe), or ``before_text`` (Eq. 9 as printed).
        lora_rank: rank of the change of each of the four projections of an attention.
        lora_targets: names of the layers that are changed instead, such as ``q_proj``.
        lora_dropout: share of a change's inputs that are dropped in training.
        lora_dora: whether lengths of the weights train apart from their directions (DoRA).
        lora_alpha: the change is scaled by `lora_alpha / lora_rank`.
        bottleneck: an adapter's hidden width is the tower's divided by this.
    """

    prompt_depth: int = 9
    prompt_length: int = 2
    prompt_position: str = "after_start"
    lora_rank: int = 8
    lora_alpha: float = 8
    lora_targets: list[str] | None = None
    lora_dropout: float = 0.0
    lora_dora: bool = False
    bottleneck: int = 4


def tune(encoder: DualEncoder, kind: str, settings: Any) -> DualEncoder:
    """Make the parameters of one kind of tuning, the only ones of the encoder that train; gives the encoder.

    LoRA and adapters start without any effect, as their second matrices are zero.

    Args:
        encoder: frozen.
        kind: registered (:func:`~recbole_mm.registry.register_tuning`), or ``none``.
        settings: TuningSettings, or those that the kind declares.

    Raises:
        ValueError: the encoder is tuned already, `kind` is unknown, a size is out of range, or peft is missing.
    """
    if encoder.tuning != "none":
        raise ValueError(f"the encoder is tuned already, with '{encoder.tuning}'; load it again")
    if kind not in ("none", *TUNINGS):
        raise ValueError(f"peft: '{kind}' is not among {', '.join(TUNINGS)}, none")
    before = set(encoder.modules())
    if kind != "none":
        TUNINGS.get(kind)(encoder, settings)
    encoder.added = [module for module in encoder.modules() if module not in before]
    encoder.tuning = kind
    return encoder


@register_tuning("prompt")
def tune_prompts(encoder: DualEncoder, settings: TuningSettings) -> None:
    """Deep prompts."""
    add_prompts(encoder, settings.prompt_depth, settings.prompt_length)
    encoder.prompts_lead = settings.prompt_position == "before_text"


@register_tuning("lora")
def tune_lora(encoder: DualEncoder, settings: TuningSettings) -> None:
    """Low-rank changes of the attentions."""
    add_lora(encoder, settings)


@register_tuning("adapter")
def tune_bottlenecks(encoder: DualEncoder, settings: TuningSettings) -> None:
    """Bottleneck adapters."""
    add_bottlenecks(encoder, settings.bottleneck)


def add_prompts(encoder: DualEncoder, depth: int, length: int) -> None:
    """Deep prompts in the first `depth` blocks of both towers, from N(0, 0.02^2).

    Raises:
        ValueError: a tower has fewer blocks, or the texts no places left.
    """
    config = encoder.model.config
    for tower, sizes in (("visual", config.vision_config), ("textual", config.text_config)):
        if not 1 <= depth <= sizes.num_hidden_layers:
            raise ValueError(
                f"prompt_depth: {depth} must be from 1 to {sizes.num_hidden_layers}, the {tower} tower's blocks"
            )
        # the start, one word and the end of a text
        if length < 0 or (tower == "textual" and length > sizes.max_position_embeddings - 3):
            raise ValueError(f"prompt_length: {length} does not fit into texts of {sizes.max_position_embeddings}")
        values = PROMPT_STD * torch.randn(depth, length, sizes.hidden_size)
        setattr(encoder, f"{tower}_prompts", nn.Parameter(values.to(encoder.mean.device)))


def add_lora(encoder: DualEncoder, settings: TuningSettings) -> None:
    """Low-rank changes of all attention projections of both towers, by the peft library."""
    if settings.lora_rank < 1:
        raise ValueError(f"lora_rank: {settings.lora_rank} must be at least 1")
    names = settings.lora_targets or ATTENTION_LAYERS
    options = {"r": settings.lora_rank, "lora_alpha": settings.lora_alpha, "lora_dropout": settings.lora_dropout}
    add_peft(encoder, "LORA", {**options, "use_dora": settings.lora_dora}, names, "lora_targets")


def add_bottlenecks(encoder: DualEncoder, divisor: int) -> None:
    """Two bottleneck adapters in every block, one behind the attention and one behind the MLP."""
    for tower in (encoder.model.vision_model, encoder.model.text_model):
        if not all(hasattr(block, name) for block in getattr(tower.encoder, "layers", [None]) for name in ADAPTED):
            raise ValueError(f"peft: adapter knows no blocks like {type(tower).__name__}'s; choose another")
        width = tower.config.hidden_size
        if divisor < 1 or width % divisor:
            raise ValueError(f"bottleneck: {divisor} must divide the tower's width {width}")
        for block in tower.encoder.layers:
            device = block.layer_norm1.weight.device
            block.self_attn = AdaptedAttention(block.self_attn, Bottleneck(width, width // divisor).to(device))
            block.mlp = nn.Sequential(block.mlp, Bottleneck(width, width // divisor).to(device))


class Bottleneck(nn.Module):
    """``x + U gelu(D x + b) + c``, which starts as x: U and c are zero."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.down = nn.Linear(width, hidden)
        self.up = nn.Linear(hidden, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, states: Tensor) -> Tensor:
        return states + self.up(nn.functional.gelu(self.down(states)))


class AdaptedAttention(nn.Module):
    """An attention of transformers with a bottleneck behind it."""

    def __init__(self, attention: nn.Module, bottleneck: Bottleneck):
        super().__init__()
        self.attention, self.bottleneck = attention, bottleneck

    def forward(
        self, hidden_states: Tensor, attention_mask: Tensor | None = None, is_causal: bool | None = None
    ) -> tuple[Tensor, Tensor | None]:
        causal = {} if is_causal is None else {"is_causal": is_causal}
        states, weights = self.attention(hidden_states, attention_mask, **causal)
        return self.bottleneck(states), weights
