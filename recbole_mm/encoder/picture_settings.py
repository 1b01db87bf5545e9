"""What the settings of an image processor may be, looked at before a library resizes a picture by them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recbole_mm.encoder.safety import EncoderError, is_number, read_settings

FILES = ("preprocessor_config.json", "processor_config.json")
MOST_SHORTER = 1024  # pixels of the shorter side; the longer one of a picture is up to 200 times as long
MOST_SIDE = 4096
_SIZES = ("size", "crop_size", "pad_size")
_COLOURS = ("image_mean", "image_std")


def check_picture_settings(folder: Path) -> None:
    """Raise EncoderError where there are none, or a size of pictures or scale of colours is none or too large."""
    there = [name for name in FILES if (folder / name).exists()]
    if not there:
        raise EncoderError(f"there is no {FILES[0]}; save the image processor of the model beside it")
    for name in there:
        for settings in _dictionaries(read_settings(folder / name, Path(name))):
            for key in _SIZES:
                _check_size(name, key, settings.get(key))
            for key in _COLOURS:
                _check_colours(name, key, settings.get(key))


def _dictionaries(value: Any) -> Iterator[dict[str, Any]]:
    """A dictionary, and those in it: a processor of pictures and texts keeps that of the pictures inside."""
    if isinstance(value, dict):
        yield value
        for part in value.values():
            yield from _dictionaries(part)


def _check_size(name: str, key: str, size: Any) -> None:
    sides = size if isinstance(size, dict) else dict(enumerate(size)) if isinstance(size, list) else {"": size}
    for side, length in sides.items():
        most = MOST_SHORTER if side == "shortest_edge" else MOST_SIDE
        if length is not None and not (is_number(length) and 1 <= length <= most):
            shown = f"{key}.{side}" if side != "" else key
            raise EncoderError(f"{name}: {shown} is {length!r}; give a length from 1 to {most} pixels")


def _check_colours(name: str, key: str, values: Any) -> None:
    least = 1e-6 if key == "image_std" else -1e6
    if values is None:
        return
    if not isinstance(values, list) or len(values) != 3 or not all(is_number(one) and one >= least for one in values):
        kind = "numbers above 0" if key == "image_std" else "numbers"
        raise EncoderError(f"{name}: {key} is {str(values)[:60]!r}; give three {kind}, one for each colour")
