"""Locks say who holds them, and are free when their holder has died."""

from __future__ import annotations

import os
import platform
import re
import time

import pytest

from recbole_mm.io.locks import only_holder, waiting_lock
from tests.io.test_files import killed, names
from tests.waiting import LIMIT


def hold(path, held, until) -> int:
    """A process that holds the lock until a file appears."""
    child = os.fork()
    if child == 0:
        with only_holder(path, "work"):
            held.touch()
            limit = time.monotonic() + LIMIT
            while not until.exists() and time.monotonic() < limit:
                time.sleep(0.005)
        os._exit(0)
    while not held.exists():
        assert os.waitpid(child, os.WNOHANG) == (0, 0), "it ended before it had the lock"
        time.sleep(0.005)
    return child


def test_a_second_holder_is_told_of_the_first(tmp_path):
    path, held, until = (tmp_path / name for name in (".a.lock", "held", "until"))
    child = hold(path, held, until)
    holder = rf"process {child} on {re.escape(platform.node())}, since [\d: -]+"
    message = f"extracting toys: {holder} does this already; "
    with pytest.raises(BlockingIOError, match=message), only_holder(path, "extracting toys"):
        pytest.fail("the block must not run")
    until.touch()
    os.waitpid(child, 0)
    with only_holder(path, "extracting toys"):
        assert path.with_name(".a.lock.holder").exists()
    assert names(tmp_path) == ["held", "until"]


def test_a_waiting_lock_waits_for_the_first(tmp_path):
    path, held, until = (tmp_path / name for name in (".a.lock", "held", "until"))
    child = hold(path, held, until)
    waiting = os.fork()
    if waiting == 0:
        with waiting_lock(path):
            os._exit(0 if until.exists() else 1)
    time.sleep(0.2)
    until.touch()
    os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(os.waitpid(waiting, 0)[1]) == 0


@pytest.mark.parametrize("content", [b"", b"\xff\x1b[2J", b"x" * 10_000])
def test_a_dead_holders_lock_is_free_whatever_it_says(tmp_path, content):
    def die():
        with only_holder(tmp_path / ".a.lock", "work"):
            os._exit(9)

    assert killed(die) == 9
    for name in (".a.lock", ".a.lock.holder"):
        (tmp_path / name).write_bytes(content)
    with only_holder(tmp_path / ".a.lock", "work"):
        pass
    assert names(tmp_path) == []
