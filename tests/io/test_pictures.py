"""Pictures as users have them: odd modes, odd names, and files made to harm."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from recbole_mm.encoder import PictureError, open_picture


def test_the_content_counts_and_not_the_suffix(tmp_path):
    Image.new("RGB", (3, 2), (10, 20, 30)).save(tmp_path / "a.jpg", format="PNG")
    assert open_picture(tmp_path / "a.jpg").getpixel((2, 1)) == (10, 20, 30)


def test_of_an_animation_the_first_frame(tmp_path):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    opened = open_picture(tmp_path / "a.gif")
    assert (opened.mode, opened.getpixel((0, 0))) == ("RGB", (255, 0, 0))


def test_a_palette(tmp_path):
    Image.new("RGB", (4, 4), (0, 128, 255)).quantize(4).save(tmp_path / "a.png")
    assert open_picture(tmp_path / "a.png").getpixel((1, 1)) == (0, 128, 255)


def test_fractions_of_an_unknown_range_are_refused(tmp_path):
    """Pillow cuts them at 0 and 255: those from 0 to 1 would all be black."""
    Image.fromarray(np.random.default_rng(0).random((8, 8), dtype=np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(PictureError, match="a.tif cannot be read as a picture .its pixels are fractions .* 16 bits"):
        open_picture(tmp_path / "a.tif")


@pytest.mark.parametrize("mode", ["P", "RGBA"])
def test_what_is_transparent_is_white(tmp_path, mode):
    picture = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    picture.putpixel((1, 0), (9, 8, 7, 255))
    picture.convert(mode).save(tmp_path / "a.png")
    opened = open_picture(tmp_path / "a.png")
    assert opened.getpixel((0, 0)) == (255, 255, 255)
    assert opened.getpixel((1, 0)) == (9, 8, 7)


def test_sixteen_bits_are_scaled(tmp_path):
    """257 times 100 is 100 of 255."""
    Image.fromarray(np.full((2, 2), 25700, dtype=np.uint16)).save(tmp_path / "a.png")
    assert open_picture(tmp_path / "a.png").getpixel((0, 0)) == (100, 100, 100)


def test_turned_upright(tmp_path):
    """Orientation 6: the camera was turned, and the picture is to be turned by 90 degrees."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (6, 3)).save(tmp_path / "a.jpg", exif=exif)
    assert open_picture(tmp_path / "a.jpg").size == (3, 6)


@pytest.mark.parametrize("side", [10_000, 60_000])
def test_a_decompression_bomb_is_refused_before_it_is_unpacked(tmp_path, side):
    """100 million pixels, of which Pillow only warns, and 3,600 million; in a file of 60 bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(PictureError, match="decompression bomb"):
        open_picture(tmp_path / "a.png")


@pytest.mark.parametrize("size", [(1, 201), (201, 1), (1, 1_000_000)])
def test_one_far_longer_than_wide_is_refused(tmp_path, size):
    """A million pixels, of which an encoder that brings the shorter side to 24 would make 576 million."""
    Image.new("RGB", size).save(tmp_path / "a.png")
    with pytest.raises(PictureError, match=f"a.png .*it has {size[0]} x {size[1]} pixels; one side may be 200 times"):
        open_picture(tmp_path / "a.png")


def test_200_times_as_long_as_wide(tmp_path):
    Image.new("RGB", (2, 400)).save(tmp_path / "a.png")
    assert open_picture(tmp_path / "a.png").size == (2, 400)
