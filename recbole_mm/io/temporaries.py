"""Temporary names beside a final one: they cannot be guessed, and say which process of which machine they are of."""

from __future__ import annotations

import os
import platform
import re
import secrets
import shutil
from functools import cache
from pathlib import Path

UNFINISHED, REPLACED = "tmp", "old"
_LONGEST_NAME = 255  # bytes, on all common file systems
_NAME = re.compile(r"\.(?P<final>.+)\.(?P<machine>\w+)-(?P<pid>\d{1,9})-[0-9a-f]{16}\.(?P<kind>tmp|old)", re.DOTALL)


def temporary_name(path: Path, kind: str = UNFINISHED) -> Path:
    """A hidden sibling of `path`, ``.<name>.<machine>-<pid>-<random>.<kind>``, that does not exist.

    A sibling is on the same file system, so that a rename is atomic; readers skip names with a leading dot.
    """
    end = f".{_machine()}-{os.getpid()}-{secrets.token_hex(8)}.{kind}"
    name = os.fsencode(path.name)
    if kind == UNFINISHED:  # the name of what is replaced stays whole, as it is brought back under it
        name = name[: _LONGEST_NAME - len(end) - 1]
    return path.with_name(f".{os.fsdecode(name)}{end}")


def delete_leftovers(folder: Path) -> None:
    """Delete what killed processes of this machine left in a folder; a folder they were replacing gets its name back.

    Nothing of a living process or of another machine is touched, and what cannot be deleted stays.
    """
    try:
        names = [name for name in os.listdir(folder) if name.startswith(".")]
    except OSError:
        return
    for name in names:
        match = _NAME.fullmatch(name)
        if match and match["machine"] == _machine() and not _is_alive(int(match["pid"])):
            _settle(folder / name, folder / match["final"], match["kind"])


def delete(path: Path) -> None:
    """Delete a file, a link (not what it points at) or a folder with all it holds; what cannot be deleted stays."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        shutil.rmtree(path, ignore_errors=True)


def _settle(leftover: Path, final: Path, kind: str) -> None:
    if kind == REPLACED and not os.path.lexists(final):
        try:
            os.rename(leftover, final)
        except OSError:  # another process was faster, or the folder is read-only
            return
    else:
        delete(leftover)


@cache
def _machine() -> str:
    """The host and the namespace of its process ids: a container's ids say nothing about the host's."""
    try:
        namespace = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        namespace = 0
    return f"{re.sub('[^A-Za-z0-9]', '_', platform.node())[:40]}_{namespace:x}"


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is another user's
        return True
    return True
