"""Pictures as bytes of one size, apart from their encoder: processes prepare them and caches keep them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from recbole_mm.encoder.resizing import Resizing
from recbole_mm.encoder.safety import EncoderError

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

PROBES = ((37, 53), (320, 211), (500, 640))  # heights and widths of pictures on which the bytes must lose nothing
ROUNDING = 1e-4  # of float32 arithmetic in another order, in normalised colours


@dataclass(frozen=True)
class Preparation:
    """What an image processor of transformers does to pictures before it scales their colours.

    Attributes:
        processor: of Pillow's backend.
        shape: of every picture's pixels, ``(3, H, W)``.
        mean: of the three colours, which is subtracted from pixels in [0, 1].
        std: of the three colours, by which they are divided.
        resizing: what gives the same bytes as the processor, faster; None where nothing of ours does.
    """

    processor: Any
    shape: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resizing: Resizing | None = None

    @classmethod
    def of(cls, processor: Any) -> Preparation | None:
        """That of a processor; None where it gives other things than bytes of one size, scaled by colour.

        Seen on two pictures of noise, so that no processor's settings are taken on trust.
        """
        random = np.random.default_rng(0)
        probes = [random.integers(0, 256, (*size, 3), dtype=np.uint8) for size in PROBES]
        try:
            return cls._seen_on(processor, probes)
        except (AttributeError, ImportError, IndexError, KeyError, TypeError, ValueError):  # it is of another kind
            return None

    @classmethod
    def required(cls, processor: Any) -> Preparation:
        """As :meth:`of`; raises EncoderError where there is none."""
        preparation = cls.of(processor)
        if preparation is None:
            raise EncoderError(f"{type(processor).__name__} gives pictures of no one size, which tuning needs")
        return preparation

    def check_side(self, side: int | None) -> None:
        """Raise EncoderError where pictures come out in another size than a model's image_size, if it has one."""
        height, width = self.shape[1:]
        if isinstance(side, int) and (height, width) != (side, side):
            raise EncoderError(
                f"preprocessor_config.json makes pictures of {height} x {width}, and config.json's image_size is {side}"
                "; take both files from one model"
            )

    @classmethod
    def _seen_on(cls, processor: Any, probes: list[np.ndarray]) -> Preparation | None:
        shapes = [pixels.shape for probe in probes if (pixels := _bytes(processor, probe)) is not None]
        if len(shapes) < len(probes) or len(set(shapes)) > 1:
            return None
        preparation = cls(processor, shapes[0], *_colours(processor))
        for probe in probes:
            whole = processor(images=[probe], return_tensors="np")["pixel_values"][0]
            seen = preparation.normalised(torch.from_numpy(preparation.by_processor(probe))).numpy()
            if not np.allclose(seen, whole, rtol=0, atol=ROUNDING):
                return None
        return replace(preparation, resizing=_faster(preparation, probes))

    def __call__(self, picture: Picture) -> np.ndarray:
        """A picture in RGB, resized and cropped: uint8 ``[3, H, W]``."""
        return self.by_processor(picture) if self.resizing is None else self.resizing(picture)

    def by_processor(self, picture: Picture | np.ndarray) -> np.ndarray:
        """As transformers prepares a picture, or its colours ``[H, W, 3]``: uint8 ``[3, H, W]``."""
        pixels = _bytes(self.processor, picture)
        if pixels is None or pixels.shape != self.shape:
            raise ValueError(f"{type(self.processor).__name__} makes no pixels of {self.shape} of it")
        return pixels

    def normalised(self, pixels: Tensor) -> Tensor:
        """What the encoder reads, float32, of bytes ``[..., 3, H, W]``."""
        mean, std = (torch.tensor(statistic, device=pixels.device).view(3, 1, 1) for statistic in (self.mean, self.std))
        return (pixels.float() / 255 - mean) / std

    @property
    def key(self) -> str:
        """A hash of all that the bytes depend on beside the picture."""
        import PIL
        import transformers

        settings = {name: str(value) for name, value in self.processor.to_dict().items()}
        versions = [PIL.__version__, transformers.__version__]
        text = json.dumps([type(self.processor).__name__, settings, self.shape, versions], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _faster(preparation: Preparation, probes: list[np.ndarray]) -> Resizing | None:
    """Our resizing, where it gives the bytes of the processor's on all probes."""
    from PIL import Image

    resizing = Resizing.of(preparation.processor)
    if resizing is None:
        return None
    same = all(np.array_equal(resizing(Image.fromarray(probe)), preparation.by_processor(probe)) for probe in probes)
    return resizing if same else None


def _colours(processor: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of pixels in [0, 1] that equal a processor's scaling."""
    scale = 255 * processor.rescale_factor if getattr(processor, "do_rescale", True) else 255.0
    if getattr(processor, "do_normalize", False):
        mean, std = processor.image_mean, processor.image_std
    else:
        mean, std = (0.0,) * 3, (1.0,) * 3
    return tuple(value / scale for value in mean), tuple(value / scale for value in std)


def _bytes(processor: Any, picture: Picture | np.ndarray) -> np.ndarray | None:
    """uint8 ``[3, H, W]``; None where the processor gives another form."""
    found = processor(images=[picture], return_tensors="np", do_rescale=False, do_normalize=False)
    pixels = found["pixel_values"][0]
    if len(found) > 1 or pixels.ndim != 3 or pixels.shape[0] != 3:
        return None
    return np.rint(pixels).clip(0, 255).astype(np.uint8)
