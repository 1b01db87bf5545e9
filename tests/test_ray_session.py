"""A Ray cluster whose head goes ends the command that uses it with one line, and soon."""

from __future__ import annotations

import inspect
import socket
import time
from pathlib import Path

import pytest
import ray
from ray._private import node

from recbole_mm.ray_session import TOO_SLOW, HeadWatch, ray_session
from tests.commands import Command, start
from tests.waiting import wait_for_end, wait_until

ERRORS = Path("err.txt")
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


def watcher(head, lost: float) -> Command:
    address = f"127.0.0.1:{head.getsockname()[1]}"
    with open("out.txt", "w") as out, open(ERRORS, "w") as err:
        started = start(["-c", WATCHER, address, str(lost)], out, err)
    wait_until(lambda: Path("out.txt").read_text() == "watching\n", started, ERRORS)
    return started


def test_the_process_ends_with_one_line(head):
    process = watcher(head, lost=0.5)
    address = f"127.0.0.1:{head.getsockname()[1]}"
    time.sleep(0.5)
    assert process.poll() is None
    head.close()
    assert wait_for_end(process, ERRORS) == 2
    assert ERRORS.read_text().splitlines()[-1] == (
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
    process.kill()
    process.wait()


def test_a_session_that_is_over_is_not_watched(head):
    watch = HeadWatch(f"127.0.0.1:{head.getsockname()[1]}", "", every=0.05, lost=0.1)
    watch.start()
    watch.stop()
    head.close()
    watch.join(timeout=5)
    assert not watch.is_alive()
    watch.look()  # nor when it is asked


@pytest.mark.parametrize("n_slow", [1, 2])
def test_a_start_that_is_too_slow_for_ray_is_tried_once_more(monkeypatch, n_slow):
    """The machine is busy in the first starts; the session itself is Ray's own."""
    assert TOO_SLOW in inspect.getsource(node)  # Ray's own words
    slow, init = [Exception(f"The current node {TOO_SLOW}.")] * n_slow, ray.init

    def start(**options):
        if slow:
            raise slow.pop()
        return init(num_cpus=1, **options)

    monkeypatch.setattr(ray, "init", start)
    if n_slow == 2:
        with pytest.raises(ValueError, match="did not start within 30 seconds, twice; end what else"), ray_session():
            pass
        return
    with ray_session():
        assert ray.is_initialized()
    assert not ray.is_initialized()


def test_another_failure_of_the_start_is_not_hidden(monkeypatch):
    def start(**options):
        raise RuntimeError("no disk left")

    monkeypatch.setattr(ray, "init", start)
    with pytest.raises(RuntimeError, match="no disk left"), ray_session():
        pass
