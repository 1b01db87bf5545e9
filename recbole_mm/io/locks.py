"""Locks between processes, which the system frees when their holder dies."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recbole_mm.io.errors import naming

_MOST_SHOWN = 200


@contextmanager
def waiting_lock(path: Path) -> Iterator[None]:
    """Hold the lock at `path`, after its present holder. The file is there while it is held."""
    with _held(path, _lock(path, fcntl.LOCK_EX)):
        yield


@contextmanager
def only_holder(path: Path, work: str) -> Iterator[None]:
    """Hold the lock at `path`.

    Args:
        work: what is done under it, for the message.

    Raises:
        BlockingIOError: another process holds it; says which, and since when.
    """
    try:
        descriptor = _lock(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise BlockingIOError(f"{work}: {_holder(path)} does this already; wait until it ends, or stop it") from error
    with _held(path, descriptor):
        yield


@contextmanager
def _held(path: Path, descriptor: int) -> Iterator[None]:
    try:
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {os.uname().nodename}, since {since}\n".encode())
        yield
    finally:
        path.unlink(missing_ok=True)  # while it is held: whoever waits for this file sees that it is gone
        os.close(descriptor)


def _lock(path: Path, operation: int) -> int:
    while True:
        with naming(path):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, operation)
            if _is_at(path, descriptor):
                return descriptor
            os.close(descriptor)
        except BaseException:
            os.close(descriptor)
            raise


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether the file is the one of that name, and not one that its last holder has deleted."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False


def _holder(path: Path) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace", opener=_without_links) as file:
            text = " ".join(file.read(_MOST_SHOWN).split())
    except OSError:
        text = ""
    return text if text.isprintable() and text else "another process"


def _without_links(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
