"""Parameter-efficient tuning of a dual encoder: deep prompts, LoRA, bottleneck adapters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from recbole_mm.encoder.dual_encoder import DualEncoder
from recbole_mm.registry import TUNINGS, register_tuning

PROMPT_STD = 0.02
ATTENTION_LAYERS = ("q_proj", "k_proj", "v_proj", "out_proj")


@dataclass(frozen=True)
class TuningSettings:
    """Sizes of each kind of tuning; the defaults are the paper's at ViT-B/16, as its parameter counts tell.

    Attributes:
        prompt_depth: blocks with prompts of their own, J.
        prompt_length: prompts of a block, n.
        lora_rank: rank of the change of each of the four projections of an attention.
        lora_alpha: the change is scaled by `lora_alpha / lora_rank`.
        bottleneck: an adapter's hidden width is the tower's divided by this.
    """

    prompt_depth: int = 9
    prompt_length: int = 2
    lora_rank: int = 8
    lora_alpha: float = 8
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
    if kind != "none":
        TUNINGS.get(kind)(encoder, settings)
    encoder.tuning = kind
    return encoder


@register_tuning("prompt")
def tune_prompts(encoder: DualEncoder, settings: TuningSettings) -> None:
    """Deep prompts."""
    add_prompts(encoder, settings.prompt_depth, settings.prompt_length)


@register_tuning("lora")
def tune_lora(encoder: DualEncoder, settings: TuningSettings) -> None:
    """Low-rank changes of the attentions."""
    add_lora(encoder, settings.lora_rank, settings.lora_alpha)


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


def add_lora(encoder: DualEncoder, rank: int, alpha: float) -> None:
    """Low-rank changes of all attention projections of both towers, by the peft library."""
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise ValueError('LoRA needs peft; type: pip install "recbole-mm[clip]"') from error
    if rank < 1:
        raise ValueError(f"lora_rank: {rank} must be at least 1")
    targets = rf"(vision_model|text_model)\.encoder\.layers\.\d+\.self_attn\.({'|'.join(ATTENTION_LAYERS)})"
    config = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=0.0, target_modules=targets)
    inject_adapter_in_model(config, encoder.model)


def add_bottlenecks(encoder: DualEncoder, divisor: int) -> None:
    """Two bottleneck adapters in every block, one behind the attention and one behind the MLP."""
    for tower in (encoder.model.vision_model, encoder.model.text_model):
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
