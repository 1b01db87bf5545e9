"""A wait ends with what it waits for, or says what the process printed."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.waiting import wait_for_end, wait_until

OUT = Path("out.txt")


def started(code: str) -> subprocess.Popen:
    with open(OUT, "w") as out:
        return subprocess.Popen([sys.executable, "-S", "-c", code], stdout=out, stderr=out)


def test_it_ends_with_what_it_waits_for_also_where_the_process_has_ended():
    process = started("open('made', 'w')")
    wait_until(Path("made").exists, process, OUT)
    assert wait_for_end(process) == 0
    wait_until(Path("made").exists, process, OUT)


def test_a_process_that_ends_before_is_told_with_what_it_printed():
    process = started("import sys; print('half'); sys.exit('no disk')")
    with pytest.raises(AssertionError, match="never came: the process ended with 1\nout.txt: (half\nno disk|no disk)"):
        wait_until(Path("made").exists, process, OUT)


def test_a_process_that_hangs_is_killed_and_told_with_what_it_printed():
    process = started("import time; print('at it', flush=True); time.sleep(60)")
    begin = time.monotonic()
    with pytest.raises(AssertionError, match="did not come in 2 s; killed the process\nout.txt: at it"):
        wait_until(lambda: False, process, OUT, limit=2)
    assert process.wait() == -9
    assert time.monotonic() - begin < 30
