"""Lines of text files, plain or gzipped: UTF-8 alone, one at a time, with their numbers."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from recbole_mm.io.reading import open_regular

LONGEST_LINE = 1 << 26
_GZIP = b"\x1f\x8b"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_AS_CSV = "save the table as CSV, in UTF-8"
# how files begin that are named as texts and are none
_OTHERS = {
    b"pk\x03\x04": f"an Excel file or an archive; {_AS_CSV}, or unpack it",
    b"\xd0\xcf\x11\xe0": f"an old Excel file; {_AS_CSV}",
    b"par1": "a Parquet file; name it .parquet",
    b"%pdf": f"a PDF; {_AS_CSV}",
    b"<!doctype html": "an HTML page; download the file itself",
    b"<html": "an HTML page; download the file itself",
    b"version https://git-lfs": "a pointer of Git LFS; fetch the file itself with git lfs pull",
}


@contextmanager
def open_bytes(path: Path) -> Iterator[BinaryIO | gzip.GzipFile]:
    """The content of a file, unpacked where it is gzipped, whatever its name.

    Raises:
        OSError: it is no regular file.
        ValueError: what is unpacked is damaged; names the file.
    """
    with open_regular(path) as raw:
        packed = raw.read(2) == _GZIP
        raw.seek(0)
        try:
            yield gzip.GzipFile(fileobj=raw) if packed else raw
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"{path} is no whole gzip file ({error}); download it again") from error


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines without their ends, and their numbers from 1; a byte order mark is left out, CRLF ends a line as LF does.

    Raises:
        OSError: it is no regular file.
        ValueError: it is not UTF-8, with file, line and byte; a line is longer than 64 MiB; a gzip file is damaged.
    """
    with open_bytes(path) as file:
        start = 0
        number = 0
        while line := file.readline(LONGEST_LINE):
            number += 1
            if len(line) == LONGEST_LINE:
                raise ValueError(f"{path}, line {number} is longer than {LONGEST_LINE >> 20} MiB; is it a text file?")
            if number == 1:
                _check_first(path, line)
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise ValueError(
                    f"{path}, line {number}, byte {start + error.start}: not UTF-8 text ({error.reason}); save the "
                    "file as UTF-8"
                ) from error
            start += len(line)
            yield number, text.removesuffix("\n").removesuffix("\r")


def _check_first(path: Path, line: bytes) -> None:
    """Raise ValueError for a first line that no text in UTF-8 has, and say what the file is."""
    if line.startswith(_UTF_16):
        raise ValueError(f"{path}, line 1, byte 0: this is UTF-16 text; save the file as UTF-8")
    other = next((what for start, what in _OTHERS.items() if line[:64].lower().startswith(start)), None)
    if other is not None:
        raise ValueError(f"{path} is no text but {other}")
    if b"\0" in line:
        raise ValueError(f"{path}, line 1, byte {line.index(0)}: a NUL, as in UTF-16 text; save the file as UTF-8")
    if b"\r" in line.removesuffix(b"\n").removesuffix(b"\r") and b'"' not in line:
        raise ValueError(f"{path}, line 1: a carriage return that ends no line; save the file with line feeds")


def first_line(path: Path) -> str | None:
    """The first line, or None where it cannot be read as text: to recognise a file by it."""
    try:
        return next(numbered_lines(path), (1, ""))[1]
    except (OSError, ValueError):
        return None
