"""Commands that are killed at a random moment, as a whole or one of the processes that they started."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from tests import waiting

ROOT = Path(__file__).resolve().parents[1]


def start(command: list[str], folder: Path) -> subprocess.Popen:
    """A command of Python's in `folder`, which is made; what it prints is appended to output.txt there."""
    folder.mkdir(exist_ok=True)
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "TUNE_GLOBAL_CHECKPOINT_S": "0.5"}
    with open(folder / "output.txt", "a") as output:
        return subprocess.Popen(
            [sys.executable, *command], cwd=folder, env=environment, stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip


def output(folder: Path) -> str:
    return (folder / "output.txt").read_text()


def finish(command: list[str], folder: Path) -> None:
    """Run a command to its end, which must be a good one."""
    assert start(command, folder).wait() == 0, output(folder)


def kill(process: subprocess.Popen, with_children: bool = True) -> None:
    """SIGKILL; its children too, or left alone as where somebody kills the command by its name."""
    try:
        children = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        children = []
    process.send_signal(signal.SIGKILL)
    process.wait()
    for child in children if with_children else []:
        try:
            child.kill()
        except psutil.NoSuchProcess:
            pass


def is_there(folder: Path, pattern: str) -> bool:
    """Whether a file of that pattern is in a folder whose folders come and go meanwhile."""
    try:
        return any(folder.glob(pattern))
    except FileNotFoundError:
        return False


def wait_until(is_under_way: Callable[[], bool], process: subprocess.Popen, folder: Path) -> None:
    """Until there is something to lose, or the command has ended."""
    waiting.wait_until(lambda: is_under_way() or process.poll() is not None, process, folder / "output.txt")


def kill_at_random(
    command: list[str], folder: Path, is_under_way: Callable[[], bool], seconds: float, randomly: random.Random
) -> bool:
    """Start a command and kill it, most likely before it has ended; gives whether it still ran by then.

    Args:
        seconds: that it takes from `is_under_way` to its end.
    """
    process = start(command, folder)
    wait_until(is_under_way, process, folder)
    time.sleep(randomly.random() * 0.6 * seconds)
    is_running = process.poll() is None
    kill(process, with_children=randomly.random() < 0.7)
    return is_running
