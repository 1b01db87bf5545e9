"""Encoders of pictures from folders: any image model of transformers, and CLIP's image towers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor

from recbole_mm.encoder.content_encoder import ContentEncoder
from recbole_mm.encoder.image_encoder import ImageEncoder
from recbole_mm.encoder.load import CLIP_TYPES, TIMM_TYPE, load_encoder
from recbole_mm.encoder.pretrained import folder_config, projected, provenance, stored_weights
from recbole_mm.encoder.safety import EncoderError
from recbole_mm.registry import register_encoder

if TYPE_CHECKING:
    from PIL.Image import Image as Picture


@register_encoder("auto-images", reads="pictures")
class AutoImages(ContentEncoder):
    """Any image model of transformers.

    The feature is the projected one of a dual encoder's image tower; otherwise the model's pooled output. Where the
    files have no weights for pooling, it is the class token, or without one the mean over places.
    """

    has_files = True

    def __init__(self, model: Any, processor: Any, pooling: str, facts: dict[str, Any]):
        super().__init__(facts)
        self.model, self.processor, self.pooling = model, processor, pooling

    def forward(self, contents: list[Picture]) -> Tensor:
        inputs = self.processor(images=contents, return_tensors="pt")
        pixels = inputs["pixel_values"].to(self.device)
        if self.pooling == "projection":
            return projected(self.model.get_image_features(pixel_values=pixels))
        output = self.model(pixel_values=pixels)
        if self.pooling == "pooler":
            return output.pooler_output.flatten(1)
        if self.pooling == "class token":
            return output.last_hidden_state[:, 0]
        places = output.last_hidden_state
        return places.mean(dim=(2, 3)) if places.dim() == 4 else places.mean(dim=1)

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Any: what reads no pictures is an error when it is loaded."""
        return True

    @classmethod
    def load(cls, name: str, folder: Path, device: str) -> Self:
        """Raises ValueError where the model reads no pictures."""
        from transformers import AutoImageProcessor, AutoModel

        config = folder_config(folder)
        model = stored_weights(AutoModel, folder, config, optional="pooler")
        is_dual = hasattr(model, "get_image_features")
        if not is_dual and model.main_input_name != "pixel_values":
            raise EncoderError(f"it is of type '{config.model_type}', which reads no pictures")
        # Pillow's resizing, as for CLIP
        processor = AutoImageProcessor.from_pretrained(folder, backend="pil", trust_remote_code=False)
        pooling = "projection" if is_dual else _image_pooling(model, processor)
        return cls(model, processor, pooling, provenance(name, folder, pooling=pooling, **_pixels(processor)))


@register_encoder("clip-images", reads="pictures")
class ClipImages(ContentEncoder):
    """The image tower of a CLIP (see :func:`~recbole_mm.encoder.load_encoder`)."""

    has_files = True

    def __init__(self, tower: ImageEncoder, facts: dict[str, Any]):
        super().__init__(facts)
        self.tower = tower

    def forward(self, contents: list[Picture]) -> Tensor:
        return self.tower(self.tower.preprocess(contents).to(self.device))

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """A CLIP, its image tower alone, or a CLIP ResNet of timm's."""
        config = folder_config(folder)
        is_resnet = config.model_type == TIMM_TYPE and "clip" in config.architecture
        return config.model_type in CLIP_TYPES or is_resnet

    @classmethod
    def load(cls, name: str, folder: Path, device: str) -> Self:
        """Raises ValueError as :func:`~recbole_mm.encoder.load_encoder`."""
        tower = load_encoder(name)
        return cls(tower, provenance(name, folder, pooling="projection", **_pixels(tower.processor)))


def _image_pooling(model: Any, processor: Any) -> str:
    """What the model offers, seen on a black picture; its own pooler first, where the files have its weights."""
    black = processor(images=[np.zeros((8, 8, 3), dtype=np.uint8)], return_tensors="pt")
    with torch.no_grad():
        output = model.eval()(pixel_values=black["pixel_values"])
    if getattr(output, "pooler_output", None) is not None:
        return "pooler"
    has_class_token = any(key.endswith(("cls_token", "class_embedding")) for key, _ in model.named_parameters())
    return "class token" if has_class_token else "mean"


def _pixels(processor: Any) -> dict[str, Any]:
    return {"processor": type(processor).__name__, "settings": processor.to_dict()}
