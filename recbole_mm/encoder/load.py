"""Loading image towers from a local folder or by their hub name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recbole_mm.encoder.blip import load_blip
from recbole_mm.encoder.image_encoder import ClipResNet, ClipTransformer, ImageEncoder
from recbole_mm.encoder.picture_settings import check_picture_settings
from recbole_mm.encoder.pretrained import (
    clear_errors,
    encoder_folder,
    folder_config,
    quiet,
    reading,
    reads,
    require_transformers,
    stored_weights,
)
from recbole_mm.encoder.processor_settings import PROCESSOR_FILE
from recbole_mm.encoder.safety import EncoderError
from recbole_mm.encoder.vision_tower import VisionTower

CLIP_TYPES = ("clip", "clip_vision_model")
TIMM_TYPE = "timm_wrapper"


def load_encoder(name: str | Path) -> ImageEncoder:
    """The image tower of an encoder, frozen and in evaluation mode.

    It can be a CLIP with a vision transformer, whole or its image tower alone (``openai/clip-vit-base-patch32``), a
    CLIP ResNet in timm's form (``timm/resnet50_clip.openai``), which needs timm besides, or any other image model of
    transformers (:class:`~recbole_mm.encoder.vision_tower.VisionTower`).

    Args:
        name: a folder as ``save_pretrained`` writes it, image processor included, or a name on the hub.

    Raises:
        ValueError: there is no such encoder, it is damaged or reads no pictures, its weights are a pickle, it would run
            code of its own, or transformers is not installed.
    """
    require_transformers()
    with quiet(), clear_errors(name):
        folder = encoder_folder(name)
        config = folder_config(folder)
        is_clip = config.model_type in (*CLIP_TYPES, TIMM_TYPE)
        encoder = load_clip(folder, config) if is_clip else load_vision_tower(folder, config)
    return encoder.eval().requires_grad_(False)


def load_clip(folder: Path, config: Any) -> ImageEncoder:
    """The image tower of a CLIP in a folder of :func:`~recbole_mm.encoder.pretrained.encoder_folder`.

    Raises:
        EncoderError, OSError, ValueError: it is damaged, or no CLIP's.
    """
    encoder = _clip(folder, config) if config.model_type in CLIP_TYPES else _timm(folder, config)
    encoder.eval().check_shapes()
    return encoder


def load_vision_tower(folder: Path, config: Any) -> VisionTower:
    """Any image model of transformers; arguments and errors as of :func:`load_clip`."""
    from transformers import AutoModel

    if not reads(config, "pixel_values", "get_image_features"):
        raise EncoderError(f"it is of type '{config.model_type}', which reads no pictures")
    if config.model_type == "blip":
        model = load_blip(folder, config)
    else:
        model = stored_weights(AutoModel, folder, config, optional="pooler")
    processor = load_processor(folder, config)
    with reading(f"{PROCESSOR_FILE}, whose pictures the model is tried on"):
        tower = VisionTower(model, processor)
        tower.check_shapes()
    return tower


def load_processor(folder: Path, config: Any) -> Any:
    """The image processor of a folder, with Pillow's resizing; torchvision's differs slightly.

    The features of the published models are made with Pillow's.

    Raises:
        EncoderError: its settings are damaged, or exhaust the memory.
    """
    from transformers import AutoImageProcessor, CLIPImageProcessorPil, ViTImageProcessorPil

    if config.model_type != TIMM_TYPE:  # whose settings are in config.json
        check_picture_settings(folder)
    with reading(PROCESSOR_FILE):
        if config.model_type in CLIP_TYPES:
            return CLIPImageProcessorPil.from_pretrained(folder)
        if config.model_type == TIMM_TYPE:  # which has none for Pillow
            return AutoImageProcessor.from_pretrained(folder, trust_remote_code=False)
        if config.model_type.startswith("dinov3"):  # whose own has no form for Pillow, and is ViT's but for that
            return ViTImageProcessorPil.from_pretrained(folder)
        return AutoImageProcessor.from_pretrained(folder, backend="pil", trust_remote_code=False)


def _clip(folder: Path, config: Any) -> ClipTransformer:
    from transformers import CLIPVisionModelWithProjection

    vision = config
    if config.model_type == "clip":
        vision = config.vision_config
        vision.projection_dim = config.projection_dim  # its own is a default that a whole CLIP does not read
    if vision.num_hidden_layers < 2:
        raise EncoderError("attribution maps and tuning need at least two blocks, and it has one")
    model = stored_weights(CLIPVisionModelWithProjection, folder, vision)
    return ClipTransformer(model, load_processor(folder, config))


def _timm(folder: Path, config: Any) -> ClipResNet:
    from transformers import TimmWrapperForImageClassification

    model = stored_weights(TimmWrapperForImageClassification, folder, config)
    if not hasattr(model.timm_model, "stages") or type(model.timm_model.head).__name__ != "AttentionPool2d":
        raise EncoderError(f"{config.architecture} is no CLIP ResNet, such as resnet50_clip")
    return ClipResNet(model, load_processor(folder, config))
