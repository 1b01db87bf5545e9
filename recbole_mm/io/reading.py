"""Opening what a user names: regular files, and links to them, alone.

A pipe would wait for ever for somebody to write, and a device may do anything at all when it is opened.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

import numpy as np

from recbole_mm.io.errors import one_line

# of a pipe or a terminal; Windows has neither flag
NEVER_WAITING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)

_OF_DATA_SETS = frozenset(
    {".inter", ".item", ".user", ".net", ".link", ".kg", ".visual", ".textual", ".acoustic", ".arrow", ".yaml"}
)

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def regular_file(path: str | os.PathLike[str]) -> Path:
    """The path, where a regular file stands, or a link to one.

    Raises:
        FileNotFoundError: there is nothing.
        OSError: it is something else, or cannot be reached.
    """
    path = Path(path)
    with _named(path):
        mode = os.stat(path).st_mode
    _check_mode(path, mode)
    return path


def check_files(folder: Path, prefix: str) -> None:
    """Raise ValueError for a name in a folder that begins so and is no file to read: it would be passed over.

    Folders are left alone, which may hold anything, but those that are called as a data set's files are.
    """
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name.startswith(prefix) and (path.suffix in _OF_DATA_SETS or not path.is_dir()):
            has_file(path)


def has_file(path: Path) -> bool:
    """Whether a regular file, or a link to one, has this name; raises ValueError where something else has it.

    For files that may be there or not: what is no file would be passed over.
    """
    if path.is_file():
        return True
    if not os.path.lexists(path):
        return False
    kind = f"is {_kind(os.stat(path).st_mode)}" if path.exists() else "leads nowhere"
    raise ValueError(f"{path} {kind}, so it cannot be read; restore the file, or delete the name")


def files_in(folder: Path, pattern: str) -> list[Path]:
    """The files of a folder by their names, sorted; raises ValueError as :func:`has_file`."""
    return [path for path in sorted(folder.glob(pattern)) if has_file(path)]


def open_regular(path: str | os.PathLike[str]) -> BufferedReader:
    """A regular file, or the one that a link points at, opened to read its bytes; never waits.

    Raises:
        OSError: as :func:`regular_file`, or the file may not be read.
    """
    path = regular_file(path)
    with _named(path):
        descriptor = os.open(path, os.O_RDONLY | NEVER_WAITING)
    try:
        _check_mode(path, os.fstat(descriptor).st_mode)  # again, as it may be another one by now
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def open_media(file: Path, what: str, most_bytes: int, error_class: type[ValueError]) -> BufferedReader:
    """The bytes of a file of others that a library is to decode.

    Args:
        file: its name.
        what: it should be, such as ``picture``, for messages.
        most_bytes: a larger one may be meant to exhaust the memory.
        error_class: raised where it is larger, or no regular file.
    """
    try:
        opened = open_regular(file)
    except OSError as error:
        raise error_class(f"{file} cannot be read as a {what} ({error}); replace it") from error
    size = os.fstat(opened.fileno()).st_size
    if size > most_bytes:
        opened.close()
        raise error_class(
            f"{file} is no {what}: it has {size / 1e9:.1f} GB, and the most is {most_bytes / 1e9:.3g}; replace it"
        )
    return opened


def sha256(path: str | os.PathLike[str]) -> str:
    """The digest of a regular file's bytes, in hexadecimal; raises as :func:`open_regular`."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def decoded(
    path: str | os.PathLike[str], content: bytes, encoding: str, first_line: int = 1, *, is_set: bool = True
) -> str:
    """The text of bytes that begin a line of a file; raises ValueError, naming file, line and byte.

    Args:
        is_set: whether the setting `encoding` says how the file is read.
    """
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + first_line
        byte = error.start - (content.rfind(b"\n", 0, error.start) + 1)
        raise ValueError(
            f"{path}, line {line}, byte {byte + 1}: no {encoding} text ({error.reason}); save the file as UTF-8"
            f"{', or set encoding to the one it has' if is_set else ''}"
        ) from error
    except (UnicodeError, LookupError) as error:  # of UTF-16 without its mark, or no encoding of texts
        raise ValueError(f"{path} is no {encoding} text ({one_line(error)}); save the file as UTF-8") from error


def read_lines(path: str | os.PathLike[str]) -> list[str]:
    """The lines of a text file, without their ends; those that are empty at its end are left out.

    Raises:
        OSError: as :func:`open_regular`.
        ValueError: it is not UTF-8.
    """
    with open_regular(path) as file:
        text = decoded(path, file.read(), "utf-8", is_set=False).lstrip("\ufeff")
    return [line.rstrip("\r") for line in text.rstrip("\r\n").split("\n")]


@contextmanager
def _named(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(f"there is no file {path}") from error
    except OSError as error:
        raise type(error)(f"{path} cannot be read ({error.strerror}); give a file that you may read") from error


def _check_mode(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise OSError(f"{path} is {_kind(mode)}; give a regular file")


def _kind(mode: int) -> str:
    return _KINDS.get(stat.S_IFMT(mode), "something else")


def read_npz(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The arrays of an `.npz` file of ours, without unpickling.

    Raises:
        OSError: there is no such file.
        ValueError: it is damaged, holds objects, or is compressed.
    """
    with open_regular(path) as file:
        try:
            with np.load(file, allow_pickle=False) as stored:
                if any(member.file_size != member.compress_size for member in stored.zip.infolist()):
                    raise ValueError("it is compressed, as ours are not: a small file could fill the memory")
                return {name: stored[name] for name in stored.files}
        except Exception as error:  # of zipfile, zlib, struct and numpy's own, whatever the damage leads them to
            raise ValueError(f"{path} is no whole .npz file ({error!r}); delete it") from error
