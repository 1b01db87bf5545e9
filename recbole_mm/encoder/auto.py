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
    clear_errors,
    encoder_folder,
    quiet,
    require_transformers,
    revision,
    stored_weights,
)
from recbole_mm.encoder.safety import MODULES_FILE, EncoderError


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
        folder = encoder_folder(name)
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        if config.model_type in CLIP_TYPES or _is_clip_resnet(config):
            tower = load_encoder(name)
            encoder = ClipImages(tower, _facts(name, folder, pooling="projection", **_pixels(tower.processor)))
        else:
            encoder = _auto_images(name, folder, config)
    return encoder.eval().requires_grad_(False).to(device)


def _is_clip_resnet(config) -> bool:
    return config.model_type == TIMM_TYPE and "clip" in config.architecture


def _auto_images(name: str, folder: Path, config) -> AutoImages:
    from transformers import AutoImageProcessor, AutoModel

    model = stored_weights(AutoModel, folder, config, optional="pooler")
    is_dual = hasattr(model, "get_image_features")
    if not is_dual and model.main_input_name != "pixel_values":
        raise EncoderError(f"it is of type '{config.model_type}', which reads no pictures")
    # Pillow's resizing, as for CLIP
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil", trust_remote_code=False)
    pooling = "projection" if is_dual else _image_pooling(model, processor)
    return AutoImages(model, processor, pooling, _facts(name, folder, pooling=pooling, **_pixels(processor)))


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
        folder = encoder_folder(name)
        if (folder / MODULES_FILE).is_file():
            encoder = _sentence_texts(name, folder, device)
        else:
            encoder = _auto_texts(name, folder, AutoConfig.from_pretrained(folder, trust_remote_code=False))
    return encoder.eval().requires_grad_(False).to(device)


def _auto_texts(name: str, folder: Path, config) -> AutoTexts:
    from transformers import AutoModel, AutoTokenizer, CLIPTextModelWithProjection

    if config.model_type == "clip_text_model":
        model, pooling = stored_weights(CLIPTextModelWithProjection, folder, config), "text projection"
    else:
        model = stored_weights(AutoModel, folder, config, optional="pooler")
        is_dual = hasattr(model, "get_text_features")
        if not is_dual and model.main_input_name != "input_ids":
            raise EncoderError(f"it is of type '{config.model_type}', which reads no texts")
        pooling = "projection" if is_dual else "mean"
        if config.is_encoder_decoder:
            model = model.get_encoder()
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token  # of GPT's kin; padding is masked
    context = context_of(model, config.get_text_config(), tokenizer)
    facts = _facts(name, folder, pooling=pooling, tokenizer=type(tokenizer).__name__, context=context)
    return AutoTexts(model, tokenizer, context, pooling, facts)


def _sentence_texts(name: str, folder: Path, device: str) -> SentenceTexts:
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise EncoderError(
            'it is a model of sentence-transformers; type: pip install "recbole-mm[sentence]"'
        ) from error
    options = {"trust_remote_code": False, "model_kwargs": {"use_safetensors": True}}
    model = SentenceTransformer(str(folder), device=device, **options)
    modules = [type(module).__name__ for module in model]
    return SentenceTexts(model, _facts(name, folder, modules=modules, context=model.max_seq_length))


def _facts(name: str, folder: Path, **preprocessing: Any) -> dict[str, Any]:
    return {"encoder": str(name), "revision": revision(name, folder), "preprocessing": preprocessing}
