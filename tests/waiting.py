"""Waiting for what another process does: until it is so, with what that process printed where it never will be."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

LIMIT = 600.0  # seconds, on a machine that is busy with other things: it ends what hangs and measures nothing


class Process(Protocol):
    """What :class:`subprocess.Popen` and :class:`tests.commands.Command` have."""

    def poll(self) -> int | None: ...
    def kill(self) -> None: ...


def wait_until(is_so: Callable[[], object], process: Process, *printed: Path, limit: float = LIMIT) -> None:
    """Return as soon as something is so.

    Args:
        is_so: asked until it is true, once more where the process has ended.
        process: which makes it so.
        printed: the files with its output.
        limit: seconds that it has, after which it is killed.

    Raises:
        AssertionError: the process ended or the limit passed before; with the ends of the files.
    """
    begin = time.monotonic()
    while True:
        code, seconds = process.poll(), time.monotonic() - begin
        if is_so():
            return
        if code is not None:
            raise AssertionError(f"what was waited for never came: the process ended with {code}{_ends(printed)}")
        if seconds > limit:
            process.kill()
            raise AssertionError(f"what was waited for did not come in {limit:g} s; killed the process{_ends(printed)}")
        time.sleep(0.01)


def wait_for_end(process: Process, *printed: Path) -> int:
    """Gives the exit code of a process, which has :data:`LIMIT` to end."""
    wait_until(lambda: process.poll() is not None, process, *printed)
    code = process.poll()
    assert code is not None
    return code


def _ends(files: tuple[Path, ...]) -> str:
    ends = (f"\n{file.name}: {file.read_text(errors='replace')[-3000:] or '(empty)'}" for file in files)
    return "".join(ends)
