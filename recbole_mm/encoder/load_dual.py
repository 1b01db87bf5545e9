"""Loading dual encoders for tuning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recbole_mm.encoder.blip import load_blip
from recbole_mm.encoder.dual_encoder import DualEncoder
from recbole_mm.encoder.hooked_dual_encoder import HookedDualEncoder
from recbole_mm.encoder.load import load_processor
from recbole_mm.encoder.pretrained import (
    clear_errors,
    encoder_folder,
    folder_config,
    load_tokenizer,
    quiet,
    require_transformers,
    revision,
    stored_weights,
)
from recbole_mm.encoder.safety import EncoderError
from recbole_mm.encoder.text_encoders import TOKENIZER_FILE, check_reads_texts

TOWERS = ("vision_model", "text_model", "get_image_features", "get_text_features")


def load_dual_encoder(name: str | Path) -> DualEncoder:
    """A dual encoder of images and texts with tokenizer and image processor, frozen: a CLIP, SigLIP, BLIP or the like.

    Args:
        name: a folder as ``save_pretrained`` writes it, or a name on the hub.

    Raises:
        ValueError: as :func:`~recbole_mm.encoder.load_encoder`, or it has not both towers.
    """
    require_transformers()
    with quiet(), clear_errors(name):
        folder = encoder_folder(name)
        config = folder_config(folder)
        model = _model(folder, config)
        tokenizer = load_tokenizer(folder)
        facts = {"encoder": str(name), "revision": revision(name, folder)}
        kind = DualEncoder if config.model_type == "clip" else HookedDualEncoder
        encoder = kind(model, tokenizer, load_processor(folder, config), facts)
        _check_reads_texts(encoder)
    return encoder


def _check_reads_texts(encoder: DualEncoder) -> None:
    tokenizer = encoder.tokenizer
    if tokenizer.pad_token is None:
        raise EncoderError(f"{TOKENIZER_FILE}: there is no pad_token; add one")
    context = encoder.model.config.text_config.max_position_embeddings
    check_reads_texts(
        lambda texts: encoder.text_features(*encoder.tokens(texts)), tokenizer, context, type(encoder.model).__name__
    )
    encoder.truncated = 0


def _model(folder: Path, config: Any) -> Any:
    """Raises EncoderError where it has not two towers."""
    from transformers import MODEL_MAPPING, AutoModel, CLIPModel

    if config.model_type == "clip":
        return stored_weights(CLIPModel, folder, config)
    if config.model_type == "blip":
        model = load_blip(folder, config)
    elif hasattr(MODEL_MAPPING.get(type(config), None), "get_text_features"):
        model = stored_weights(AutoModel, folder, config)
    else:
        model = None
    if not all(hasattr(model, name) for name in TOWERS):
        raise EncoderError(f"it is of type '{config.model_type}', and tuning needs the two towers of a dual encoder")
    return model
