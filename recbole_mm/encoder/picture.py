"""Reading picture files in full."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image as Picture


class PictureError(ValueError):
    """A picture that cannot be used, where others may be."""


def open_picture(file: Path) -> Picture:
    """The picture of a file as a Pillow image in RGB, in its own size.

    Raises:
        PictureError: there is no such file, or it is no picture, cut short or damaged.
        ValueError: Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise ValueError('pictures need Pillow; type: pip install "recbole-mm[clip]"') from error
    try:
        with Image.open(file) as picture:
            return picture.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # what Pillow's readers raise
        reason = "it is no picture" if isinstance(error, Image.UnidentifiedImageError) else str(error)
        raise PictureError(f"{file} cannot be read as a picture ({reason}); replace it") from error
