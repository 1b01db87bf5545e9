"""Loading a CLIP-type encoder from a local folder or by its hub name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from recbole_mm.encoder.image_encoder import ClipResNet, ClipTransformer, ImageEncoder

CLIP_TYPES = ("clip", "clip_vision_model")
TIMM_TYPE = "timm_wrapper"


def load_encoder(name: str | Path) -> ImageEncoder:
    """The image tower of an encoder, frozen and in evaluation mode.

    It can be a CLIP with a vision transformer, whole or its image tower alone (``openai/clip-vit-base-patch32``), or a
    CLIP ResNet in timm's form (``timm/resnet50_clip.openai``), which needs timm besides.

    Args:
        name: a folder as ``save_pretrained`` writes it, image processor included, or a name on the hub.

    Raises:
        ValueError: there is no such encoder, it is damaged or of another kind, or transformers is not installed.
    """
    try:
        from transformers import AutoConfig
    except ImportError as error:
        raise ValueError('encoders need transformers; type: pip install "recbole-mm[clip]"') from error
    with _quiet(), _clear_errors(name):
        config = AutoConfig.from_pretrained(name, trust_remote_code=False)  # nor ask whether to run it
        if config.model_type in CLIP_TYPES:
            encoder = _clip(name, config)
        elif config.model_type == TIMM_TYPE:
            encoder = _timm(name, config)
        else:
            raise _EncoderError(
                f"it is of type '{config.model_type}', and the types that can be read are {', '.join(CLIP_TYPES)} and, "
                f"for CLIP ResNets, timm's"
            )
    return encoder.eval().requires_grad_(False)


class _EncoderError(Exception):
    """What is wrong with an encoder, without its name."""


@contextmanager
def _clear_errors(name: str | Path) -> Iterator[None]:
    from safetensors import SafetensorError

    try:
        yield
    except (_EncoderError, SafetensorError, OSError, ValueError, RuntimeError, ImportError) as error:
        kind = "" if Path(name).is_dir() else ", which is no folder, from the hub"
        reason = " ".join(str(error).split())
        raise ValueError(f"encoder {name}{kind} cannot be loaded: {reason}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' bars, and its report of the text tower that we leave out."""
    from transformers.utils import logging

    level, has_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if has_bars:
            logging.enable_progress_bar()


def _clip(name: str | Path, config) -> ClipTransformer:
    from transformers import CLIPImageProcessorPil, CLIPVisionModelWithProjection

    vision = config
    if config.model_type == "clip":
        vision = config.vision_config
        vision.projection_dim = config.projection_dim  # its own is a default that a whole CLIP does not read
    if vision.num_hidden_layers < 2:
        raise _EncoderError("attribution maps and tuning need at least two blocks, and it has one")
    model = _weights(CLIPVisionModelWithProjection, name, vision)
    # Pillow's resizing, which the features of the published models are made with; torchvision's differs slightly
    return ClipTransformer(model, CLIPImageProcessorPil.from_pretrained(name))


def _timm(name: str | Path, config) -> ClipResNet:
    from transformers import AutoImageProcessor, TimmWrapperForImageClassification

    model = _weights(TimmWrapperForImageClassification, name, config)
    if not hasattr(model.timm_model, "stages") or type(model.timm_model.head).__name__ != "AttentionPool2d":
        raise _EncoderError(f"{config.architecture} is no CLIP ResNet, such as resnet50_clip")
    return ClipResNet(model, AutoImageProcessor.from_pretrained(name))


def _weights(kind, name: str | Path, config):
    """The model, all of whose weights are in the files: transformers makes up missing ones and only warns of it."""
    # some are stored in half precision, which transformers would keep
    model, found = kind.from_pretrained(name, config=config, dtype=torch.float32, output_loading_info=True)
    if found["missing_keys"]:
        missing = sorted(found["missing_keys"])
        raise _EncoderError(f"its files lack {len(missing)} weights (first: {missing[0]})")
    return model
