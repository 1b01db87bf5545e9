"""File systems of a test's own that are full or read-only, which only root can make."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

BLOCK = 4096


class Disk:
    """A small file system in memory.

    Attributes:
        folder: where it is mounted.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def fill(self, left: int = 0) -> None:
        """Take all of its room but some bytes."""
        blocks = shutil.disk_usage(self.folder).free // BLOCK - left // BLOCK
        with (self.folder / "filler").open("ab") as filler:
            filler.write(bytes(blocks * BLOCK))

    def make_read_only(self) -> None:
        """Let nothing more be written; root's rights do not help."""
        _mount("-o", "remount,ro", self.folder)


@contextmanager
def small_disk(folder: Path, megabytes: int = 8) -> Iterator[Disk]:
    """A file system at a new folder; the test is skipped where none can be mounted."""
    folder.mkdir()
    reason = _mount("-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", folder)
    if reason:
        pytest.skip(f"no file system can be mounted here: {reason}")
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def _mount(*arguments) -> str:
    """Why it cannot be done; nothing where it is done."""
    if shutil.which("mount") is None or os.name != "posix":
        return "there is no mount"
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True)
    return "" if done.returncode == 0 else done.stderr.strip() or f"mount ends with {done.returncode}"
