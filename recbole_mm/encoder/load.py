"""Loading a CLIP-type encoder from a local folder or by its hub name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recbole_mm.encoder.image_encoder import ClipResNet, ClipTransformer, ImageEncoder
from recbole_mm.encoder.pretrained import clear_errors, encoder_folder, quiet, require_transformers, stored_weights
from recbole_mm.encoder.safety import EncoderError

CLIP_TYPES = ("clip", "clip_vision_model")
TIMM_TYPE = "timm_wrapper"


def load_encoder(name: str | Path) -> ImageEncoder:
    """The image tower of an encoder, frozen and in evaluation mode.

    It can be a CLIP with a vision transformer, whole or its image tower alone (``openai/clip-vit-base-patch32``), or a
    CLIP ResNet in timm's form (``timm/resnet50_clip.openai``), which needs timm besides.

    Args:
        name: a folder as ``save_pretrained`` writes it, image processor included, or a name on the hub.

    Raises:
        ValueError: there is no such encoder, it is damaged or of another kind, its weights are a pickle, it would run
            code of its own, or transformers is not installed.
    """
    require_transformers()
    from transformers import AutoConfig

    with quiet(), clear_errors(name):
        folder = encoder_folder(name)
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)  # nor ask whether to run it
        if config.model_type in CLIP_TYPES:
            encoder = _clip(folder, config)
        elif config.model_type == TIMM_TYPE:
            encoder = _timm(folder, config)
        else:
            raise EncoderError(
                f"it is of type '{config.model_type}', and the types that can be read are {', '.join(CLIP_TYPES)} and, "
                f"for CLIP ResNets, timm's"
            )
    return encoder.eval().requires_grad_(False)


def _clip(folder: Path, config: Any) -> ClipTransformer:
    from transformers import CLIPImageProcessorPil, CLIPVisionModelWithProjection

    vision = config
    if config.model_type == "clip":
        vision = config.vision_config
        vision.projection_dim = config.projection_dim  # its own is a default that a whole CLIP does not read
    if vision.num_hidden_layers < 2:
        raise EncoderError("attribution maps and tuning need at least two blocks, and it has one")
    model = stored_weights(CLIPVisionModelWithProjection, folder, vision)
    # Pillow's resizing, which the features of the published models are made with; torchvision's differs slightly
    return ClipTransformer(model, CLIPImageProcessorPil.from_pretrained(folder))


def _timm(folder: Path, config: Any) -> ClipResNet:
    from transformers import AutoImageProcessor, TimmWrapperForImageClassification

    model = stored_weights(TimmWrapperForImageClassification, folder, config)
    if not hasattr(model.timm_model, "stages") or type(model.timm_model.head).__name__ != "AttentionPool2d":
        raise EncoderError(f"{config.architecture} is no CLIP ResNet, such as resnet50_clip")
    return ClipResNet(model, AutoImageProcessor.from_pretrained(folder, trust_remote_code=False))
