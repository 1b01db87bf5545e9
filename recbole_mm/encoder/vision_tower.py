"""The image tower of any model of transformers: SigLIP, DINOv2 and v3, ViT, BLIP, ConvNeXt, and others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from recbole_mm.encoder.image_encoder import ImageEncoder, unsquare_pictures
from recbole_mm.encoder.pretrained import projected

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

CLASS_TOKENS = ("cls_token", "class_embedding")


class VisionTower(ImageEncoder):
    """An image model of transformers, alone or as a tower of a dual encoder.

    The feature is the projected one of a dual encoder; otherwise the model's pooled output. Where the files have no
    weights for pooling, it is the class token, or without one the mean over places.

    Args:
        model: with ``get_image_features``, or whose main input are pixels.
        processor: its image processor.

    Attributes:
        pooling: ``projection``, ``pooler``, ``class token`` or ``mean``.
    """

    def __init__(self, model: Any, processor: Any):
        mean, std = getattr(processor, "image_mean", None), getattr(processor, "image_std", None)
        super().__init__(0, list(mean or (0.0,) * 3), list(std or (1.0,) * 3), processor)
        self.model = model.eval()
        with torch.no_grad():  # what the model offers is seen on a black picture
            inputs = processor(images=[np.zeros((64, 64, 3), dtype=np.uint8)], return_tensors="pt")
            self.pooling = "projection" if hasattr(model, "get_image_features") else self._found_pooling(inputs)
            self.width = self._features(inputs).shape[1]
        self._has_one_shape = self.preparation is not None or _stacks(processor)

    def forward(self, pixels: Tensor) -> Tensor:
        return self._features({"pixel_values": pixels})

    def of_pictures(self, pictures: list[Picture]) -> Tensor:
        """Features ``[n, width]``; SigLIP 2 NaFlex and its kind read masks beside pixels."""
        if self._has_one_shape:
            return self._features(self.processor(images=pictures, return_tensors="pt").to(self.mean.device))
        return torch.cat([self._of_one(picture) for picture in pictures])

    def _of_one(self, picture: Picture) -> Tensor:
        """Features ``[1, width]``."""
        return self._features(self.processor(images=[picture], return_tensors="pt").to(self.mean.device))

    def activation(self, pixels: Tensor) -> Tensor:
        """``[n, channels, h, w]``: of a network with places its last; of a transformer its patches on their grid.

        They are those before the last block where the feature is of the class token, which alone leaves that block.

        Raises:
            ValueError: the model's patches make no grid.
        """
        outputs = self._vision()(pixel_values=pixels, output_hidden_states=True)
        # Swin and its kind merge patches from stage to stage, and give their states on the grids as well
        states = getattr(outputs, "reshaped_hidden_states", None) or outputs.hidden_states
        if states[-1].dim() == 4:
            return states[-1]
        tokens = states[-2 if has_class_token(self._vision()) else -1]
        patch = self._vision().config.patch_size
        rows, columns = pixels.shape[2] // patch, pixels.shape[3] // patch
        n_first = tokens.shape[1] - rows * columns  # class and register tokens
        if n_first < 0:
            raise ValueError(
                f"{type(self.model).__name__} gives {tokens.shape[1]} places for {rows} x {columns} patches"
            )
        return tokens[:, n_first:].transpose(1, 2).unflatten(2, (rows, columns))

    def _features(self, inputs: Any) -> Tensor:
        if self.pooling == "projection":
            return projected(self.model.get_image_features(**inputs))
        output = self.model(**inputs)
        if self.pooling == "pooler":
            return output.pooler_output.flatten(1)
        if self.pooling == "class token":
            return output.last_hidden_state[:, 0]
        places = output.last_hidden_state
        return places.mean(dim=(2, 3)) if places.dim() == 4 else places.mean(dim=1)

    def _found_pooling(self, inputs: Any) -> str:
        """The model's own pooler, where the files have its weights."""
        if getattr(self.model(**inputs), "pooler_output", None) is not None:
            return "pooler"
        return "class token" if has_class_token(self._vision()) else "mean"

    def _vision(self) -> Any:
        """The part that reads pixels."""
        return getattr(self.model, "vision_model", self.model)


def _stacks(processor: Any) -> bool:
    """Whether pictures of different shapes come out in one."""
    try:
        processor(images=[picture for *_, picture in unsquare_pictures()], return_tensors="pt")
    except ValueError:
        return False
    return True


def has_class_token(tower: Any) -> bool:
    """Whether an image tower has a token of its own beside its patches."""
    return any(name.endswith(CLASS_TOKENS) for name, _ in tower.named_parameters())
