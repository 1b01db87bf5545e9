"""Writing so that a killed process leaves nothing half-written under a final name.

Everything is written beside its final name under one that cannot be guessed, and renamed. What reaches the final name
is on the disk by then, so that neither a full disk nor a power cut leaves part of it there; the rename itself may be
lost in a power cut, which leaves the old file. What a killed process left is deleted by the next write into the folder.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from recbole_mm.io.errors import naming, naming_full_disk, write_error
from recbole_mm.io.exchange import exchange
from recbole_mm.io.reading import NEVER_WAITING
from recbole_mm.io.temporaries import REPLACED, delete, delete_leftovers, temporary_name

_MEGABYTE = 1e6
_OCCUPIED = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)


@contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary file beside `path`, empty, renamed to `path` when the block ends without an error.

    Nothing is written through a link: one that stands at `path` is replaced by the file, as any old file is.

    Raises:
        OSError: the file cannot be written, as the disk is full, the folder read-only or missing, or `path` is a
            folder, device or pipe; names `path`.
    """
    path = Path(path)
    temporary = _new_file(path)
    try:
        mode = _rights(temporary)
        with naming_full_disk(path, temporary):
            yield temporary
            _flush(temporary, mode)
        with naming(path):
            os.replace(temporary, path)
    finally:
        delete(temporary)


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raise now the OSError that writing a file would raise after the work; folders above it are not made."""
    path = Path(path)
    _check_replaceable(path)
    with naming(path):
        _try_writing_below(path.parent)


def free_bytes(folder: str | os.PathLike[str]) -> int:
    """What the disk of a folder, which need not be there yet, takes before it is full."""
    folder = Path(os.path.abspath(folder))
    return shutil.disk_usage(next(place for place in (folder, *folder.parents) if place.exists())).free


def check_room(path: str | os.PathLike[str], needed: int) -> None:
    """Raise now the OSError of a full disk that writing so many bytes to `path` would raise after a part of them."""
    path = Path(path)
    free = free_bytes(path.parent)
    if needed > free:
        full = write_error(path, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        raise OSError(f"{full}: it takes {needed / _MEGABYTE:,.1f} MB, and {free / _MEGABYTE:,.1f} MB are left")


def check_is_no_input(path: Path, option: str, inputs: Iterable[Path]) -> None:
    """Raise ValueError where writing a file would replace one that the command reads.

    Args:
        path: to write; need not exist.
        option: that gives it, for the message.
        inputs: files that are read, and names that belong to them, which need not exist.
    """
    for file in inputs:
        if _place(path) == _place(file) or (path.exists() and file.exists() and path.samefile(file)):
            raise ValueError(f"{option}: {path} is a file that this command reads; choose another name")


def _place(path: Path) -> Path:
    """Where the name itself stands, whether or not it is a link, as a link is replaced too."""
    return Path(os.path.realpath(path.parent)) / path.name


def check_folder_writable(folder: str | os.PathLike[str]) -> None:
    """Raise now the OSError that writing files into a folder would raise after the work; the folder is not made."""
    with naming(Path(folder)):
        _try_writing_below(Path(folder))


def _try_writing_below(folder: Path) -> None:
    folder = Path(os.path.abspath(folder))
    there = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
    file = _create(temporary_name(there / "check"))
    try:
        file.write_bytes(bytes(4096))  # more than none, which a full disk takes
    finally:
        file.unlink()


def _new_file(path: Path) -> Path:
    _check_replaceable(path)
    delete_leftovers(path.parent)
    with naming(path):
        return _create(temporary_name(path))


def _create(file: Path) -> Path:
    # made before its name is handed out: a writer that opens it by name then finds ours, and no link in its place
    os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666))
    return file


def _check_replaceable(path: Path) -> None:
    """A rename would put a file in the place of a device, such as /dev/null."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a device or pipe"
        raise FileExistsError(f"{path} cannot be written: it is {kind}; choose the name of a file")


def _rights(file: Path) -> int:
    return stat.S_IMODE(os.lstat(file).st_mode)


def _flush(file: Path, mode: int) -> None:
    if _rights(file) != mode:  # safetensors puts one in its place that is its owner's alone
        os.chmod(file, mode)
    descriptor = os.open(file, os.O_RDONLY | NEVER_WAITING | getattr(os, "O_NOFOLLOW", 0))
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def temporary_folder(target: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a new empty folder beside `target`; what the block has not renamed away is deleted at its end.

    Until it is published it is nobody else's to read or write. Folders above it are made.

    Raises:
        OSError: the folder cannot be made, or the disk is full; names `target`.
    """
    target = Path(target)
    with naming(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        delete_leftovers(target.parent)
        temporary = temporary_name(target)
        temporary.mkdir(mode=0o700)
    try:
        with naming_full_disk(target, temporary):
            yield temporary
    finally:
        delete(temporary)


def is_occupied(folder: Path) -> bool:
    """Whether something stands at this path, other than an empty folder; brings a folder back as :func:`is_folder`."""
    is_folder(folder)
    return os.path.lexists(folder) and not (folder.is_dir() and not any(folder.iterdir()))


def is_folder(path: Path) -> bool:
    """Whether a folder stands there, after one that a killed command was replacing got its name back."""
    if not os.path.lexists(path):
        delete_leftovers(path.parent)
    return path.is_dir()


def publish_new_folder(temporary: Path, target: Path) -> None:
    """Rename a finished folder to its final name, in one step; an empty folder may stand there.

    Raises:
        FileExistsError: something else stands there.
        OSError: it cannot be renamed; names `target`.
    """
    with naming_full_disk(target, temporary):
        _finish(temporary)
    try:
        os.rename(temporary, target)
    except OSError as error:
        if error.errno in _OCCUPIED:
            raise FileExistsError(f"{target} holds something already; delete it, or choose another folder") from error
        raise write_error(target, error) from error


def publish_folder(temporary: Path, target: Path) -> None:
    """Rename a finished folder to its final name; what stood there, a link included, is deleted after that.

    A process that is killed in between leaves the old or the new one there. Where the file system cannot exchange two
    names, the old one can be missing until the next command that writes beside it, or asks `is_folder`.

    Raises:
        OSError: it cannot be renamed; names `target`.
    """
    try:
        publish_new_folder(temporary, target)
    except FileExistsError:
        with naming(target):
            if exchange(temporary, target):
                delete(temporary)
            else:
                _replace(temporary, target)


def _replace(temporary: Path, target: Path) -> None:
    old = temporary_name(target, REPLACED)
    os.rename(target, old)
    try:
        os.rename(temporary, target)
    except OSError:
        os.rename(old, target)
        raise
    delete(old)


def _finish(folder: Path) -> None:
    """All files on the disk, and the rights that new files and a new folder have."""
    mask = os.umask(0o077)  # it can only be read by setting it
    os.umask(mask)
    for parent, _, names in os.walk(folder):
        for name in names:
            _flush(Path(parent, name), 0o666 & ~mask)
    os.chmod(folder, (_rights(folder) & stat.S_ISGID) | (0o777 & ~mask))
