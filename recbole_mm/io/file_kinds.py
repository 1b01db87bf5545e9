"""What a file is that has another content than its name says, by how it begins."""

from __future__ import annotations

from pathlib import Path

_BYTES = 64
# small letters; at which byte, what there is, what it is and what to do
_STARTS = (
    (0, b"<!doctype html", "an HTML page, not the file itself"),
    (0, b"<html", "an HTML page, not the file itself"),
    (0, b"<svg", "SVG; save it as PNG"),
    (0, b"<?xml", "XML, perhaps SVG; save it as PNG"),
    (0, b"%pdf", "a PDF; save its pages as PNG"),
    (0, b"pk\x03\x04", "an archive; unpack it"),
    (0, b"\x1f\x8b", "a gzip archive; unpack it"),
    (0, b"version https://git-lfs", "a pointer of Git LFS; fetch the file with git lfs pull"),
    (4, b"ftyphei", "HEIC; save it as JPEG"),
    (4, b"ftyphev", "HEIC; save it as JPEG"),
    (4, b"ftypmif1", "HEIF; save it as JPEG"),
    (4, b"ftypm4a", "M4A; save it as FLAC, WAV or MP3"),
    (4, b"ftyp", "MP4; save a sound as FLAC, WAV or MP3, a frame as PNG"),
    (0, b"\x1aE\xdf\xa3".lower(), "Matroska or WebM; save a sound as FLAC, WAV or MP3, a frame as PNG"),
)


def kind_of(file: Path) -> str | None:
    """What a file is, such as ``HEIC; save it as JPEG``; None where nothing is known of it.

    Raises:
        OSError: it cannot be read.
    """
    with file.open("rb") as opened:
        start = opened.read(_BYTES)
    if not start:
        return "empty"
    start = start.lower().lstrip(b"\xef\xbb\xbf \r\n")
    return next((what for at, magic, what in _STARTS if start[at:].startswith(magic)), None)
