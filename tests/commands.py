"""Commands of Python's in processes of their own, without the seconds in which each would import torch and RecBole.

Each is forked off a process that has imported them (:mod:`tests.command_server`); from there on it is a process as any
other: with its own arguments, folder, environment, output, signals and end. What it shares with the others of a test
process are the seed of Python's hashes and what is read while modules are imported: where a test is about that, about
the imports or about an interrupt of them, it starts Python itself.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[1]
SERVERS = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}  # which a command cannot have otherwise


class Command:
    """A command under way; what it can do is what :class:`subprocess.Popen` does by these names."""

    def __init__(self, arguments: list[str], status: socket.socket):
        self.args, self._status = arguments, status
        self._answers = status.makefile("r")
        self.pid = self._answer()
        self.returncode: int | None = None

    def _answer(self) -> int:
        answer = self._answers.readline()
        if not answer:
            raise RuntimeError(f"what starts commands has ended, before {self.args}; its errors say why")
        return int(answer)

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self._status], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self.returncode = self._answer()
            self._answers.close()
            self._status.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


@cache
def _server() -> tuple[socket.socket, subprocess.Popen]:
    """Where to ask for commands, and the process there, which ends with this one."""
    local, remote = socket.socketpair()
    with remote:
        return local, subprocess.Popen(
            [sys.executable, str(ROOT / "tests" / "command_server.py")],
            stdin=remote, stdout=subprocess.DEVNULL, env={**os.environ, **SERVERS},
        )  # fmt: skip


def start(
    arguments: list[str], out: IO, err: IO, folder: Path | None = None, new_session: bool = False, **environment: str
) -> Command:
    """Begin ``python ARGUMENTS``.

    Args:
        arguments: ``-m MODULE ...``, ``-c CODE ...`` or ``FILE ...``.
        out: an open file for its output.
        err: another for its errors, or the same.
        folder: that it works in; None: that of this process.
        new_session: whether it heads a session of its own.
        environment: what it has besides this process's.
    """
    merged = {**os.environ, **SERVERS, **environment}
    if differing := {name for name, value in SERVERS.items() if merged[name] != value}:
        raise ValueError(f"{differing}: read while modules are imported; start Python itself")
    asked = {"arguments": arguments, "folder": str(folder or Path.cwd()), "environment": merged,
             "new_session": new_session}  # fmt: skip
    server, _ = _server()
    local, remote = socket.socketpair()
    with remote:
        socket.send_fds(server, [b"."], [remote.fileno(), out.fileno(), err.fileno()])
        server.sendall(json.dumps(asked).encode() + b"\n")
    return Command(arguments, local)


def run(arguments: list[str], folder: Path | None = None, **environment: str) -> subprocess.CompletedProcess:
    """Run ``python ARGUMENTS`` to its end; gives its exit code, and its output and errors as texts."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        code = start(arguments, out, err, folder, **environment).wait()
        for file in (out, err):
            file.seek(0)
        return subprocess.CompletedProcess(arguments, code, out.read(), err.read())
