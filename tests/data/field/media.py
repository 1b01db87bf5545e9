"""Kinds: pictures and sounds as cameras, shops and downloads have them, read by item as extraction does."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

RED, BLUE, WHITE = (200, 30, 60), (10, 120, 240), (255, 255, 255)
SIZE = (60, 40)  # of the picture: red above on the left, blue below on the right, black else


@dataclass(frozen=True)
class Media:
    """A file, and what is heard or seen of it.

    Attributes:
        what, outcome: as of a case; of what is refused the reason that its item gets.
        name: of the file.
        content: makes its bytes, as some need libraries that are not always there.
        expected: of a picture the colours of the upper left and the lower right corner, of a sound seconds and pitch in
            Hz; None where it is refused.
    """

    what: str
    outcome: str
    name: str
    content: Callable[[], bytes]
    expected: tuple[Any, Any] | None = None


def _picture() -> Image.Image:
    values = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    values[:20, :30], values[20:, 30:] = RED, BLUE
    return Image.fromarray(values)


def stored(form: str, change: Callable[[Image.Image], Image.Image] = lambda picture: picture, **options: Any) -> bytes:
    file = io.BytesIO()
    change(_picture()).save(file, form, **options)
    return file.getvalue()


def turned() -> bytes:
    """Stored lying on its side, with the mark that cameras set."""
    exif = Image.Exif()
    exif[0x112] = 6  # to be turned by 90 degrees clockwise
    return stored("JPEG", lambda picture: picture.rotate(90, expand=True), exif=exif, quality=95)


def of_16_bits() -> bytes:
    values = np.asarray(_picture())
    lines = b"".join(b"\0" + (line.astype(">u2") * 257).tobytes() for line in values)
    parts = {b"IHDR": struct.pack(">IIBBBBB", *SIZE, 16, 2, 0, 0, 0), b"IDAT": zlib.compress(lines), b"IEND": b""}
    chunks = [struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts.items()]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def grey(picture: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)


def clear(picture: Image.Image) -> Image.Image:
    return Image.new("RGBA", picture.size, (0, 0, 0, 0))


AFTER = {"save_all": True, "append_images": [Image.new("RGB", SIZE, "white")]}
GREYS = ((84, 84, 84), (101, 101, 101))


def seen(what: str, name: str, content: Callable[[], bytes], expected: Any = (RED, BLUE), outcome: str = "its colours") -> Media:
    return Media(what, outcome, name, content, expected)


def unseen(what: str, reason: str, content: bytes, name: str = "i0.jpg") -> Media:
    return Media(what, f"cannot be read as a picture (it is {reason}); replace it", name, lambda: content)


PICTURES = [
    seen("JPEG that a camera marks as turned", "i0.jpg", turned, outcome="upright"),
    seen("JPEG of four inks (CMYK)", "i0.jpg", lambda: stored("JPEG", lambda image: image.convert("CMYK"), quality=95)),
    seen("progressive JPEG, its suffix in capitals", "i0.JPG", lambda: stored("JPEG", progressive=True, quality=95)),
    seen("PNG of 16 bits a colour", "i0.png", of_16_bits),
    seen("PNG and TIFF of 16 bits of grey", "i0.png", lambda: stored("PNG", grey), GREYS),
    seen("PNG of a palette", "i0.png", lambda: stored("PNG", lambda image: image.convert("P", palette=Image.Palette.ADAPTIVE))),
    seen("transparent PNG", "i0.png", lambda: stored("PNG", clear), (WHITE, WHITE), "on white"),
    seen("animated GIF", "i0.gif", lambda: stored("GIF", **AFTER), outcome="its first picture"),
    seen("animated WebP", "i0.webp", lambda: stored("WEBP", lossless=True, **AFTER), outcome="its first picture"),
    seen("TIFF of two pages", "i0.tif", lambda: stored("TIFF", **AFTER), outcome="the first one"),
    seen("AVIF", "i0.avif", lambda: stored("AVIF", quality=95)),
    seen("JPEG 2000", "i0.jp2", lambda: stored("JPEG2000")),
    seen("PNG called JPEG", "i0.jpg", lambda: stored("PNG")),
    unseen("HEIC of a telephone called JPEG", "HEIC; save it as JPEG", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"),
    unseen("0 bytes", "empty", b""),
    unseen("the page of a shop that has it no more", "an HTML page, not the file itself", b"\n<!doctype HTML><title>404</title>"),
    unseen("a pointer of Git LFS", "a pointer of Git LFS; fetch the file with git lfs pull", b"version https://git-lfs.github.com/spec/v1\n"),
    unseen("SVG called PNG", "SVG; save it as PNG", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "i0.png"),
    unseen("a PDF", "a PDF; save its pages as PNG", b"%PDF-1.4"),
    unseen("anything else", "no picture", b"RIFF" * 9),
    Media("cut short", "cannot be read as a picture (image file is truncated (18 bytes not processed)); replace it", "i0.jpg",
          lambda: stored("JPEG", quality=95)[:-40]),
    Media("TIFF of fractions", "cannot be read as a picture (its pixels are fractions of an unknown range; save it with 8 or 16 "
          "bits); replace it", "i0.tif", lambda: stored("TIFF", lambda image: image.convert("F"))),
]  # fmt: skip


def tone(rate: int = 16_000, seconds: float = 1.0, channels: int = 1) -> np.ndarray:
    wave = 0.5 * np.sin(2 * np.pi * 440 * np.arange(int(seconds * rate)) / rate)
    return np.stack(channels * [wave], axis=1)


def sound(form: str, values: np.ndarray | None = None, rate: int = 16_000, subtype: str | None = None) -> bytes:
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, tone(rate) if values is None else values, rate, format=form, subtype=subtype)
    return file.getvalue()


def heard(what: str, name: str, content: Callable[[], bytes], expected: Any = (1.0, 440), outcome: str = "its pitch") -> Media:
    return Media(what, outcome, name, content, expected)


def unheard(what: str, reason: str, content: Callable[[], bytes], name: str = "i0.wav") -> Media:
    return Media(what, reason, name, content)


SOUNDS = [
    heard("WAV of 8 bits", "i0.wav", lambda: sound("WAV", subtype="PCM_U8")),
    heard("WAV of 24 bits at 96 kHz", "i0.wav", lambda: sound("WAV", rate=96_000, subtype="PCM_24")),
    heard("WAV of decimals", "i0.wav", lambda: sound("WAV", subtype="FLOAT")),
    heard("WAV of a telephone (8 kHz, u-law)", "i0.wav", lambda: sound("WAV", rate=8_000, subtype="ULAW")),
    heard("six channels", "i0.wav", lambda: sound("WAV", tone(channels=6)), outcome="their mean"),
    heard("FLAC", "i0.flac", lambda: sound("FLAC")),
    heard("OGG Vorbis", "i0.ogg", lambda: sound("OGG")),
    heard("Opus", "i0.opus", lambda: sound("OGG", rate=48_000, subtype="OPUS")),
    heard("MP3 at 44.1 kHz", "i0.mp3", lambda: sound("MP3", rate=44_100)),
    heard("MP3 behind a tag with a cover", "i0.mp3", lambda: b"ID3\x03\0\0\0\0\x02\0" + bytes(256) + sound("MP3")),
    heard("MP3 called WAV", "i0.wav", lambda: sound("MP3")),
    heard("silence", "i0.wav", lambda: sound("WAV", np.zeros((16_000, 1))), (1.0, 0), "silence"),
    heard("a WAV that is cut in half", "i0.wav", lambda: sound("WAV")[:16_044], (0.5, 440), "what there is"),
    unheard("of 0 seconds", "has no samples; replace it", lambda: sound("WAV", np.zeros((0, 1)))),
    unheard("0 bytes", "cannot be read as a sound (it is empty); replace it", lambda: b""),
    unheard("M4A called MP3", "cannot be read as a sound (it is M4A; save it as FLAC, WAV or MP3); replace it",
            lambda: b"\0\0\0\x1cftypM4A \0\0\x02\0", "i0.mp3"),
    unheard("the page of a shop that has it no more", "cannot be read as a sound (it is an HTML page, not the file itself); replace it",
            lambda: b"<html>404</html>", "i0.mp3"),
    unheard("anything else", "cannot be read as a sound (Format not recognised); replace it", lambda: b"RIFF" * 9),
    unheard("values that are no numbers", "has values that are not finite; replace it",
            lambda: sound("WAV", np.full((16_000, 1), np.nan), subtype="FLOAT")),
    unheard("a FLAC that is cut short", "cannot be read as a sound (Error : flac decoder lost sync); replace it", lambda: sound("FLAC")[:3000], "i0.flac"),
]  # fmt: skip


def file_of(media: Media, folder: Path) -> Path:
    file = folder / media.name
    file.write_bytes(media.content())
    return file
