"""A Ray cluster whose head goes ends the command that uses it with one line, and soon."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from recbole_mm.ray_session import HeadWatch
from tests.waiting import LIMIT

ROOT = Path(__file__).resolve().parents[1]
WATCHER = """
import sys, time
from recbole_mm.ray_session import HeadWatch
watch = HeadWatch(sys.argv[1], "add --resume to the same command", every=0.1, lost=float(sys.argv[2]))
watch.start()
print("watching", flush=True)
time.sleep(60)
"""


@pytest.fixture
def head():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def watcher(head, lost: float) -> subprocess.Popen:
    address = f"127.0.0.1:{head.getsockname()[1]}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    started = subprocess.Popen(
        [sys.executable, "-c", WATCHER, address, str(lost)], env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert started.stdout.readline() == "watching\n"
    return started


def test_the_process_ends_with_one_line(head):
    process = watcher(head, lost=0.5)
    address = f"127.0.0.1:{head.getsockname()[1]}"
    time.sleep(0.5)
    assert process.poll() is None
    head.close()
    _, said = process.communicate(timeout=LIMIT)
    assert process.returncode == 2
    assert said.splitlines()[-1] == (
        f"error: the head of the Ray cluster at {address} has ended; start it again, and add --resume to the same "
        "command"
    )


def test_a_head_that_answers_again_in_time_is_not_lost(head):
    process = watcher(head, lost=20)
    port = head.getsockname()[1]
    head.close()
    time.sleep(1)
    with socket.create_server(("127.0.0.1", port)):
        time.sleep(1.5)
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_a_session_that_is_over_is_not_watched(head):
    watch = HeadWatch(f"127.0.0.1:{head.getsockname()[1]}", "", every=0.05, lost=0.1)
    watch.start()
    watch.stop()
    head.close()
    watch.join(timeout=5)
    assert not watch.is_alive()
    watch.look()  # nor when it is asked
