"""Reading picture files in full."""

from __future__ import annotations

import io
import warnings
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING

from recbole_mm.io.file_kinds import kind_of
from recbole_mm.io.reading import open_media

if TYPE_CHECKING:
    from PIL.Image import Image as Picture


# Pillow's readers of pixels alone: that of EPS, for one, runs another program.
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
PICTURE_SUFFIXES = (".jpg", ".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpeg", ".png", ".tif", ".tiff", ".webp")
MOST_BYTES = 1 << 30
MOST_RATIO = 200  # of the sides: encoders bring the shorter one to a length, and the longer one grows with it


class PictureError(ValueError):
    """A picture that cannot be used, where others may be."""


def open_picture_file(file: Path) -> BufferedReader:
    """The bytes of a picture's file; raises PictureError where it is no regular file, or larger than 1 GiB."""
    return open_media(file, "picture", MOST_BYTES, PictureError)


def open_picture(file: Path, content: bytes | None = None) -> Picture:
    """The picture of a file as a Pillow image in RGB, in its own size, whatever the file's suffix says.

    It is turned upright as its EXIF says, transparent places are white, 16-bit greys are scaled, and of an animation it
    is the first frame.

    Args:
        file: its name, for errors.
        content: of the file, where it was read already.

    Raises:
        PictureError: there is no such file, or it is no picture of FORMATS, cut short, damaged, or so large (over 89
            million pixels) or long (one side over 200 times the other) that it may be meant to exhaust the memory; or
            it is a pipe, device or folder.
        ValueError: Pillow is not installed.
    """
    try:
        from PIL import Image, ImageOps, UnidentifiedImageError
    except ImportError as error:
        raise ValueError('pictures need Pillow; type: pip install "recbole-mm[clip]"') from error
    Image.init()
    formats = [name for name in FORMATS if name in Image.OPEN]  # some are left out of some builds of Pillow
    try:
        source = open_picture_file(file) if content is None else io.BytesIO(content)
        with source as opened, warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(opened, formats=formats) as picture:
                check_sides(*picture.size)
                ImageOps.exif_transpose(picture, in_place=True)  # else it copies what is upright already
                picture.load()
                return _as_rgb(picture)
    except PictureError:
        raise
    except Exception as error:  # Pillow's readers raise of every kind, whatever the damage leads them to
        reason = str(error)
        if isinstance(error, UnidentifiedImageError):
            reason = f"it is {kind_of(file) or 'no picture'}"
        raise PictureError(f"{file} cannot be read as a picture ({reason}); replace it") from error


def check_sides(width: int, height: int) -> None:
    """Raise ValueError where one side of a picture is more than MOST_RATIO times as long as the other."""
    if max(width, height) > MOST_RATIO * min(width, height):
        raise ValueError(f"it has {width} x {height} pixels; one side may be {MOST_RATIO} times the other at most")


def _as_rgb(picture: Picture) -> Picture:
    from PIL import Image

    if picture.mode == "RGB" and not picture.has_transparency_data:
        return picture
    if picture.mode == "F":  # which Pillow cuts at 0 and 255: what goes from 0 to 1 would be black
        raise ValueError("its pixels are fractions of an unknown range; save it with 8 or 16 bits")
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
