"""Loading frozen encoders of pictures and texts for extraction: through the Auto classes of transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from recbole_mm.encoder.content_encoder import (
    AutoImages,
    AutoTexts,
    ClipImages,
    ContentEncoder,
    SentenceTexts,
    context_of,
)
from recbole_mm.encoder.load import CLIP_TYPES, TIMM_TYPE, load_encoder
from recbole_mm.encoder.pretrained import (
    EncoderError,
    clear_errors,
    quiet,
    require_transformers,
    revision,
    stored_weights,
)

SENTENCE_FILE = "modules.json"


def load_image_encoder(name: str, device: str = "cpu") -> ContentEncoder:
    """An encoder of pictures, frozen: a dual encoder's image tower, or any image model of transformers.

    Args:
        name: a folder as ``save_pretrained`` writes it, image processor included, or a name on the hub.

    Raises:
        ValueError: there is none, it is damaged, it reads no pictures, or transformers is not installed.
    """
    require_transformers()
    from transformers import AutoConfig

    with quiet(), clear_errors(name):
        config = AutoConfig.from_pretrained(name, trust_remote_code=False)
        if config.model_type in CLIP_TYPES or _is_clip_resnet(config):
            tower = load_encoder(name)
            encoder = ClipImages(tower, _facts(name, config, pooling="projection", **_pixels(tower.processor)))
        else:
            encoder = _auto_images(name, config)
    return encoder.eval().requires_grad_(False).to(device)


def _is_clip_resnet(config) -> bool:
    return config.model_type == TIMM_TYPE and "clip" in config.architecture


def _auto_images(name: str, config) -> AutoImages:
    from transformers import AutoImageProcessor, AutoModel

    model = stored_weights(AutoModel, name, config, optional="pooler")
    is_dual = hasattr(model, "get_image_features")
    if not is_dual and model.main_input_name != "pixel_values":
        raise EncoderError(f"it is of type '{config.model_type}', which reads no pictures")
    # Pillow's resizing, as for CLIP
    processor = AutoImageProcessor.from_pretrained(name, backend="pil", trust_remote_code=False)
    pooling = "projection" if is_dual else _image_pooling(model, processor)
    return AutoImages(model, processor, pooling, _facts(name, config, pooling=pooling, **_pixels(processor)))


def _image_pooling(model, processor) -> str:
    """What the model offers, seen on a black picture; its own pooler first, where the files have its weights."""
    black = processor(images=[np.zeros((8, 8, 3), dtype=np.uint8)], return_tensors="pt")
    with torch.no_grad():
        output = model.eval()(pixel_values=black["pixel_values"])
    if getattr(output, "pooler_output", None) is not None:
        return "pooler"
    has_class_token = any(key.endswith(("cls_token", "class_embedding")) for key, _ in model.named_parameters())
    return "class token" if has_class_token else "mean"


def _pixels(processor) -> dict[str, Any]:
    return {"processor": type(processor).__name__, "settings": processor.to_dict()}


def load_text_encoder(name: str, device: str = "cpu") -> ContentEncoder:
    """An encoder of texts, frozen: a dual encoder's text tower, any text model of transformers, sentence-transformers.

    Raises:
        ValueError: there is none, it is damaged, it reads no texts, or the library it needs is not installed.
    """
    require_transformers()
    from transformers import AutoConfig

    with quiet(), clear_errors(name):
        if _is_sentence_model(name):
            encoder = _sentence_texts(name, device)
        else:
            encoder = _auto_texts(name, AutoConfig.from_pretrained(name, trust_remote_code=False))
    return encoder.eval().requires_grad_(False).to(device)


def _auto_texts(name: str, config) -> AutoTexts:
    from transformers import AutoModel, AutoTokenizer, CLIPTextModelWithProjection

    if config.model_type == "clip_text_model":
        model, pooling = stored_weights(CLIPTextModelWithProjection, name, config), "text projection"
    else:
        model = stored_weights(AutoModel, name, config, optional="pooler")
        is_dual = hasattr(model, "get_text_features")
        if not is_dual and model.main_input_name != "input_ids":
            raise EncoderError(f"it is of type '{config.model_type}', which reads no texts")
        pooling = "projection" if is_dual else "mean"
        if config.is_encoder_decoder:
            model = model.get_encoder()
    tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token  # of GPT's kin; padding is masked
    context = context_of(model, config.get_text_config(), tokenizer)
    facts = _facts(name, config, pooling=pooling, tokenizer=type(tokenizer).__name__, context=context)
    return AutoTexts(model, tokenizer, context, pooling, facts)


def _is_sentence_model(name: str) -> bool:
    from transformers.utils import cached_file

    if Path(name).is_dir():
        return (Path(name) / SENTENCE_FILE).is_file()
    found = cached_file(name, SENTENCE_FILE, _raise_exceptions_for_missing_entries=False)
    return found is not None


def _sentence_texts(name: str, device: str) -> SentenceTexts:
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise EncoderError(
            'it is a model of sentence-transformers; type: pip install "recbole-mm[sentence]"'
        ) from error
    from transformers.utils import cached_file

    model = SentenceTransformer(str(name), device=device, trust_remote_code=False)
    version = revision(name, None) if Path(name).is_dir() else Path(cached_file(name, SENTENCE_FILE)).parent.name
    preprocessing = {"modules": [type(module).__name__ for module in model], "context": model.max_seq_length}
    return SentenceTexts(model, {"encoder": str(name), "revision": version, "preprocessing": preprocessing})


def _facts(name: str, config, **preprocessing: Any) -> dict[str, Any]:
    return {"encoder": str(name), "revision": revision(name, config), "preprocessing": preprocessing}
