"""Locks between processes, which the system frees when their holder dies."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from recbole_mm.io.errors import naming
from recbole_mm.io.files import atomic_file
from recbole_mm.io.reading import read_lines

_MOST_SHOWN = 200


@contextmanager
def waiting_lock(path: Path) -> Iterator[None]:
    """Hold the lock at `path`, after its present holder. Its file stays, so that all who wait have the same one."""
    with naming(path):
        lock = FileLock(path).acquire()
    with lock:
        yield


@contextmanager
def only_holder(path: Path, work: str) -> Iterator[None]:
    """Hold the lock at `path`.

    Args:
        path: of the lock; its holder says who it is in a file beside it.
        work: what is done under it, for the message.

    Raises:
        BlockingIOError: another process holds it; says which, and since when.
    """
    note = path.with_name(f"{path.name}.holder")
    with naming(path):
        lock = try_lock(path)
    if lock is None:
        raise BlockingIOError(f"{work}: {_holder(note)} does this already; wait until it ends, or stop it")
    try:
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        with atomic_file(note) as temporary:
            temporary.write_text(f"process {os.getpid()} on {platform.node()}, since {since}\n", encoding="utf-8")
        yield
    finally:
        note.unlink(missing_ok=True)
        unlock(lock)


def try_lock(path: Path) -> FileLock | None:
    """The lock at `path`, of the file that is there and not of one that its last holder has just deleted.

    None where another process holds it. Raises OSError where there can be no such file.
    """
    while True:
        lock = FileLock(path, thread_local=False)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return None
        if path.exists():
            return lock
        lock.release()


def unlock(lock: FileLock) -> None:
    """Give a lock back and delete its file, while it is held."""
    Path(lock.lock_file).unlink(missing_ok=True)
    lock.release()


def _holder(note: Path) -> str:
    try:
        text = read_lines(note)[0][:_MOST_SHOWN]
    except (OSError, ValueError):
        text = ""
    return text if text.isprintable() and text else "another process"
