"""Reading picture files in full."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image as Picture


class PictureError(ValueError):
    """A picture that cannot be used, where others may be."""


def open_picture(file: Path) -> Picture:
    """The picture of a file as a Pillow image in RGB, in its own size, whatever the file's suffix says.

    It is turned upright as its EXIF says, transparent places are white, 16-bit greys are scaled, and of an animation it
    is the first frame.

    Raises:
        PictureError: there is no such file, or it is no picture, cut short, damaged, or so large (over 89 million
            pixels) that it may be meant to exhaust the memory.
        ValueError: Pillow is not installed.
    """
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise ValueError('pictures need Pillow; type: pip install "recbole-mm[clip]"') from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file) as picture:
                return _as_rgb(ImageOps.exif_transpose(picture))
    except (
        OSError,
        SyntaxError,
        ValueError,
        Image.DecompressionBombError,
        Image.DecompressionBombWarning,
    ) as error:  # what Pillow's readers raise
        reason = "it is no picture" if isinstance(error, Image.UnidentifiedImageError) else str(error)
        raise PictureError(f"{file} cannot be read as a picture ({reason}); replace it") from error


def _as_rgb(picture: Picture) -> Picture:
    from PIL import Image

    if picture.mode.startswith("I;16"):  # Pillow would cut off all above 255, which leaves white
        picture = picture.convert("I")
    if picture.mode == "I":
        return picture.point(lambda value: value / 257).convert("L").convert("RGB")
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    # plain conversion would show the colours that hide behind transparent places
    layer = picture.convert("RGBA")
    ground = Image.new("RGBA", layer.size, "white")
    return Image.alpha_composite(ground, layer).convert("RGB")
