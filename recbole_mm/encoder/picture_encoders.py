"""Encoders of pictures from folders: any image model of transformers, and CLIP's image towers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
import torch
from torch import Tensor

from recbole_mm.encoder.content_encoder import ContentEncoder
from recbole_mm.encoder.image_encoder import ImageEncoder
from recbole_mm.encoder.load import CLIP_TYPES, TIMM_TYPE, load_clip, load_vision_tower
from recbole_mm.encoder.pretrained import folder_config, provenance
from recbole_mm.registry import register_encoder

if TYPE_CHECKING:
    from PIL.Image import Image as Picture


class TowerImages(ContentEncoder):
    """Pictures through an image tower.

    Args:
        tower: frozen.
    """

    has_files = True

    def __init__(self, tower: ImageEncoder, facts: dict[str, Any]):
        super().__init__(facts)
        self.tower = tower
        self.preparation = tower.preparation

    def forward(self, contents: list[Picture | np.ndarray]) -> Tensor:
        if self.preparation is None:
            return self.tower.of_pictures(cast("list[Picture]", contents))  # pixels come of a preparation alone
        ready = [content if isinstance(content, np.ndarray) else self.preparation(content) for content in contents]
        pixels = torch.from_numpy(np.stack(ready))
        if self.device.type == "cuda":
            pixels = pixels.pin_memory()
        return self.tower(self.preparation.normalised(pixels.to(self.device, non_blocking=True)))


@register_encoder("auto-images", reads="pictures")
class AutoImages(TowerImages):
    """Any image model of transformers (see :class:`~recbole_mm.encoder.vision_tower.VisionTower`)."""

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Any: what reads no pictures is an error when it is loaded."""
        return True

    @classmethod
    def load(cls, name: str, folder: Path, device: str) -> Self:
        """Raises ValueError where the model reads no pictures."""
        tower = load_vision_tower(folder, folder_config(folder))
        return cls(tower, provenance(name, folder, pooling=tower.pooling, **_pixels(tower.processor)))


@register_encoder("clip-images", reads="pictures")
class ClipImages(TowerImages):
    """The image tower of a CLIP (see :func:`~recbole_mm.encoder.load_encoder`)."""

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """A CLIP, its image tower alone, or a CLIP ResNet of timm's."""
        config = folder_config(folder)
        is_resnet = config.model_type == TIMM_TYPE and "clip" in config.architecture
        return config.model_type in CLIP_TYPES or is_resnet

    @classmethod
    def load(cls, name: str, folder: Path, device: str) -> Self:
        """Raises ValueError as :func:`~recbole_mm.encoder.load_encoder`."""
        tower = load_clip(folder, folder_config(folder))
        return cls(tower, provenance(name, folder, pooling="projection", **_pixels(tower.processor)))


def _pixels(processor: Any) -> dict[str, Any]:
    return {"processor": type(processor).__name__, "settings": processor.to_dict()}
