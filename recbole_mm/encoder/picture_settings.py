"""What the settings of an image processor may be, looked at before a library resizes a picture by them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from recbole_mm.encoder.processor_settings import check_values, processor_settings
from recbole_mm.encoder.safety import EncoderError, is_number

MOST_SHORTER = 1024  # pixels of the shorter side; the longer one of a picture is up to 200 times as long
MOST_SIDE = 4096
_SIZES = ("size", "crop_size", "pad_size")
_COLOURS = ("image_mean", "image_std")
_LARGEST = 1e6  # of what colours are moved and scaled by


class PictureSettings(BaseModel):
    """What says how, beside sizes and colours."""

    model_config = ConfigDict(strict=True)

    do_resize: bool | None = None
    do_center_crop: bool | None = None
    do_rescale: bool | None = None
    do_normalize: bool | None = None
    do_convert_rgb: bool | None = None
    do_pad: bool | None = None
    resample: Annotated[int, Field(ge=0, le=5)] | None = None  # Pillow's filters
    rescale_factor: Annotated[float, Field(ge=1 / _LARGEST, le=_LARGEST)] | None = None
    size_divisor: Annotated[int, Field(ge=1, le=MOST_SHORTER)] | None = None
    max_num_patches: Annotated[int, Field(ge=1, le=1 << 16)] | None = None


def check_picture_settings(folder: Path) -> None:
    """Raise EncoderError where there are none, or a size, a scale of colours or a kind of step is none or too large."""
    for name, settings in processor_settings(folder, "image processor"):
        for key in _SIZES:
            _check_size(name, key, settings.get(key))
        for key in _COLOURS:
            _check_colours(name, key, settings.get(key))
        check_values(name, settings, PictureSettings)


def _check_size(name: str, key: str, size: Any) -> None:
    sides = size if isinstance(size, dict) else dict(enumerate(size)) if isinstance(size, list) else {"": size}
    for side, length in sides.items():
        most = MOST_SHORTER if side == "shortest_edge" else MOST_SIDE
        if length is not None and not (is_number(length) and 1 <= length <= most):
            shown = f"{key}.{side}" if side != "" else key
            raise EncoderError(f"{name}: {shown} is {length!r}; give a length from 1 to {most} pixels")


def _check_colours(name: str, key: str, values: Any) -> None:
    least = 1e-6 if key == "image_std" else -_LARGEST
    if values is None:
        return
    are_three = isinstance(values, list) and len(values) == 3
    if not are_three or not all(is_number(value) and least <= value <= _LARGEST for value in values):
        kind = "numbers above 0" if key == "image_std" else "numbers"
        raise EncoderError(f"{name}: {key} is {str(values)[:60]!r}; give three {kind}, one for each colour")
