"""The image towers of CLIP-type encoders, and the activation that attribution maps are made of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from recbole_mm.encoder.preparation import Preparation
from recbole_mm.encoder.processor_settings import PROCESSOR_FILE
from recbole_mm.encoder.safety import EncoderError
from recbole_mm.io.errors import one_line

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

_UNSQUARE = ((48, 96), (96, 48))


def unsquare_pictures() -> Iterator[tuple[int, int, Picture]]:
    """A black picture that is wide and one that is high, each with its height and width."""
    from PIL import Image

    for height, width in _UNSQUARE:
        yield height, width, Image.new("RGB", (width, height))


class ImageEncoder(nn.Module, ABC):
    """A frozen image tower: pictures to pixels, pixels to features.

    Args:
        processor: its image processor.

    Attributes:
        width: of the features.
        preparation: what is done to pictures before their colours are scaled; None where that cannot be told apart.
        mean: of the three colours, which preprocessing subtracts, so that 0 is a grey pixel.
        std: of the three colours, which it divides by.
    """

    mean: Tensor  # of colours, [3, 1, 1]
    std: Tensor

    def __init__(self, width: int, mean: list[float], std: list[float], processor: Any):
        super().__init__()
        self.width, self.processor = width, processor
        self.preparation = Preparation.of(processor)
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def preprocess(self, pictures: list[Picture]) -> Tensor:
        """Pixels ``[n, 3, H, W]`` of Pillow images in RGB: resized, cropped and normalised as in the training."""
        if self.preparation is None:
            return self.processor(images=pictures, return_tensors="pt")["pixel_values"]
        ready = np.stack([self.preparation(picture) for picture in pictures])
        return self.preparation.normalised(torch.from_numpy(ready))

    def check_shapes(self) -> None:
        """Raise EncoderError where the model does not read what the processor makes of pictures that are not square.

        Where these come out in one size, that is known already.
        """
        if self.preparation is not None:
            return
        for height, width, picture in unsquare_pictures():
            try:
                with torch.no_grad():
                    self.of_pictures([picture])
            except MemoryError:
                raise
            except Exception as error:  # of whatever kind a model has for another size
                raise EncoderError(
                    f"{PROCESSOR_FILE}: a picture of {height} x {width} pixels comes out in a size that the model does "
                    f"not read ({one_line(error)[:200]}); have it cropped (do_center_crop, crop_size), or give size a "
                    "height and a width"
                ) from error

    def of_pictures(self, pictures: list[Picture]) -> Tensor:
        """Features ``[n, width]`` of Pillow images in RGB."""
        return self(self.preprocess(pictures).to(self.mean.device))

    @abstractmethod
    def forward(self, pixels: Tensor) -> Tensor:
        """Features ``[n, width]`` of pixels ``[n, 3, H, W]``."""

    @abstractmethod
    def activation(self, pixels: Tensor) -> Tensor:
        """What the last part that still has places makes of pixels ``[n, 3, H, W]``: ``[n, channels, h, w]``."""

    def to_colours(self, pixels: Tensor) -> np.ndarray:
        """The pictures that pixels ``[n, 3, H, W]`` are of, uint8 ``[n, H, W, 3]``."""
        colours = (pixels * self.std + self.mean).clamp(0, 1) * 255
        return colours.round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


class ClipTransformer(ImageEncoder):
    """The vision transformer of CLIP, in transformers' class.

    Its activation is the output of the second-to-last block without the class token, on the grid of the patches
    (B/32: 768 channels of 7 x 7): of the last block only the class token reaches the features.

    Args:
        model: a ``CLIPVisionModelWithProjection`` with at least two blocks.
        processor: its image processor.

    Raises:
        EncoderError: the processor makes pictures of another size than the model reads.
    """

    def __init__(self, model: Any, processor: Any):
        super().__init__(model.config.projection_dim, processor.image_mean, processor.image_std, processor)
        if self.preparation is not None:
            self.preparation.check_side(model.config.image_size)
        self.model = model

    def forward(self, pixels: Tensor) -> Tensor:
        return self.model(pixel_values=pixels).image_embeds

    def activation(self, pixels: Tensor) -> Tensor:
        # the first of these goes into the first block, so that the last but one comes out of the last block but one
        tokens = self.model(pixel_values=pixels, output_hidden_states=True).hidden_states[-2]
        patch = self.model.config.patch_size
        grid = (pixels.shape[2] // patch, pixels.shape[3] // patch)
        return tokens[:, 1:].transpose(1, 2).unflatten(2, grid)


class ClipResNet(ImageEncoder):
    """The ResNet of CLIP, in timm's form, as transformers wraps it; transformers has no class of its own for it.

    Its activation is the output of the last ReLU of the last stage (RN50: 2,048 channels of 7 x 7), which the
    attention pooling makes the features of.

    Args:
        model: a ``TimmWrapperForImageClassification``: what is the classifier of another network is here the last
            layer of the attention pooling, so that the logits are CLIP's features.
        processor: its image processor.
    """

    def __init__(self, model: Any, processor: Any):
        colours = processor.data_config
        super().__init__(model.config.num_labels, list(colours["mean"]), list(colours["std"]), processor)
        self.model = model

    def preprocess(self, pictures: list[Picture]) -> Tensor:
        return self.processor(pictures)["pixel_values"]

    def forward(self, pixels: Tensor) -> Tensor:
        return self.model(pixel_values=pixels).logits

    def activation(self, pixels: Tensor) -> Tensor:
        return self.model.timm_model.forward_features(pixels)
