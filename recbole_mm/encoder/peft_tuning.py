"""Any configuration of the peft library on a dual encoder: IA3, LoHa, LoKr, OFT, HRA and the like."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from recbole_mm.encoder.dual_encoder import DualEncoder
from recbole_mm.io.errors import one_line
from recbole_mm.registry import register_tuning
from recbole_mm.settings import Names, Settings

# projections of attentions as CLIP and SigLIP, BLIP's image tower, and BLIP's text tower call them
ATTENTION_LAYERS = ("q_proj", "k_proj", "v_proj", "out_proj", "qkv", "projection", "query", "key", "value", "dense")
IN_ATTENTIONS = r".*\.encoder\.layers?\.\d+\.(self_attn|attention)\.(self\.|output\.)?"
IN_BLOCKS = r".*\.encoder\.layers?\.\d+\.(.*\.)?"


class PeftSettings(Settings):
    """The keys of `peft: peft`."""

    peft_type: str = "IA3"
    """Method of the peft library, such as IA3, LOHA, LOKR, OFT, HRA, LORA."""
    peft_targets: Names | None = None
    """Names of the layers that change, such as q_proj; the attentions' projections if not set."""
    peft_options: dict[str, Any] = {}
    """What else the method's configuration takes, by its own names."""


@register_tuning("peft", settings=PeftSettings)
def tune_by_peft(encoder: DualEncoder, settings: PeftSettings) -> None:
    """Any method of the peft library that changes layers."""
    options = dict(settings.peft_options)
    if settings.peft_type.upper() == "IA3":
        options.setdefault("feedforward_modules", [])  # scaled behind the layer, as keys and values are
    add_peft(encoder, settings.peft_type, options, settings.peft_targets or ATTENTION_LAYERS, "peft_targets")


def add_peft(encoder: DualEncoder, kind: str, options: dict[str, Any], names: Sequence[str], key: str) -> None:
    """Have layers of both towers' blocks changed by a method of peft.

    Args:
        kind: of peft's PeftType.
        options: of its configuration.
        names: of the layers; ATTENTION_LAYERS alone are looked for in attentions only.
        key: of the settings, that gave the names.

    Raises:
        ValueError: peft is not installed, has no such method or option, or the encoder no such layer.
    """
    try:
        import peft
    except ImportError as error:
        raise ValueError('LoRA and its kind need peft; type: pip install "recbole-mm[clip]"') from error
    configs = {method.value: config for method, config in peft.mapping.PEFT_TYPE_TO_CONFIG_MAPPING.items()}
    if kind.upper() not in configs:
        raise ValueError(f"peft_type: {kind!r} is not among {', '.join(sorted(configs))}")
    where = IN_ATTENTIONS if names is ATTENTION_LAYERS else IN_BLOCKS
    pattern = rf"{where}({'|'.join(map(re.escape, names))})"
    if not any(re.fullmatch(pattern, name) for name, _ in encoder.model.named_modules()):
        raise ValueError(f"{key}: {', '.join(names)} names no layer of the encoder's blocks")
    try:
        config = configs[kind.upper()](**{"target_modules": pattern, **options})
        peft.inject_adapter_in_model(config, encoder.model)
    except (TypeError, ValueError, AttributeError, KeyError, NotImplementedError) as error:
        raise ValueError(f"peft_options: peft's {kind} takes not {options} ({one_line(error)[:200]})") from error
