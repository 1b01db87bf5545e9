"""Writing so that a killed process leaves nothing half-written under a final name."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def _temporary_sibling(path: Path) -> Path:
    # A sibling is on the same file system, so the rename is atomic; readers skip names with a leading dot.
    return path.with_name(f".{path.name}.tmp-{os.getpid()}-{secrets.token_hex(4)}")


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, renamed to `path` when the block ends without an error."""
    temporary = _temporary_sibling(path)
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def temporary_folder(target: Path) -> Iterator[Path]:
    """Yield a new empty folder beside `target`; what the block has not renamed away is deleted at its end."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary_sibling(target)
    temporary.mkdir()
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def is_occupied(folder: Path) -> bool:
    """Whether something stands at this path, other than an empty folder."""
    return folder.exists() and not (folder.is_dir() and not any(folder.iterdir()))


def publish_folder(temporary: Path, target: Path) -> None:
    """Rename a finished folder to its final name; what stood there is deleted after that."""
    if not is_occupied(target):
        if target.exists():
            target.rmdir()
        os.rename(temporary, target)
        return
    old = _temporary_sibling(target)
    os.rename(target, old)
    try:
        os.rename(temporary, target)
    except OSError:
        os.rename(old, target)
        raise
    shutil.rmtree(old)
