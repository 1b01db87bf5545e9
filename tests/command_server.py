"""The process behind :mod:`tests.commands`: it has imported what a command imports, and forks for each one.

A child is the command from the fork on: it leaves this module's loop with what was asked for, runs that as
``__main__`` in the main thread, and ends as any interpreter does.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import socket
import sys
import types
from pathlib import Path
from typing import Any

STATUS, OUT, ERR = range(3)  # places among the descriptors that come with a command


def import_all() -> None:
    """As the command line does; raises where that started threads, which a fork would not have."""
    import recbole_mm_command

    os.environ.update({**recbole_mm_command.ENVIRONMENT, **os.environ})
    recbole_mm_command._start_up()
    for name in ("numpy.random", "recbole_mm.command_line", "recbole_mm.quick_start"):
        importlib.import_module(name)

    tasks = [tid for tid in Path("/proc/self/task").glob("*") if int(tid.name) != os.getpid()]  # where there is /proc
    threads = {(tid / "comm").read_text().strip() for tid in tasks}
    if threads - {"jemalloc_bg_thd"}:  # pyarrow's, which knows of forks
        raise RuntimeError(f"what was imported has started threads: {threads}")


def next_command(requests: socket.socket) -> dict[str, Any]:
    """Give, in a child, what it has to be; in this process wait for the next one until nobody is there to ask."""
    stream = requests.makefile("rb")
    while True:
        _, descriptors, *_ = socket.recv_fds(requests, 1, 3)
        line = stream.readline()
        if not line:
            os._exit(0)
        if os.fork() == 0:
            stream.close()
            requests.close()
            command = json.loads(line)
            become(command, descriptors)
            return command
        for descriptor in descriptors:
            os.close(descriptor)
        _reap()


def _reap() -> None:
    """Those that have watched a command to its end."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def become(command: dict[str, Any], descriptors: list[int]) -> None:
    """Return in a process of its own, whose number and end its parent, made here, reports."""
    child = os.fork()
    if child:
        with socket.socket(fileno=os.dup(descriptors[STATUS])) as status:
            status.sendall(b"%d\n" % child)
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            status.sendall(b"%d\n" % code)
        os._exit(0)
    if command["new_session"]:
        os.setsid()
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (descriptors[OUT], 1), (descriptors[ERR], 2)):
        os.dup2(source, target)
    for descriptor in (nothing, *descriptors):
        os.close(descriptor)
    os.chdir(command["folder"])
    os.environ.clear()
    os.environ.update(command["environment"])
    sys.modules["numpy.random"].seed()


def run(arguments: list[str]) -> None:
    """As ``python ARGUMENTS``: ``-m MODULE ...``, ``-c CODE ...`` or ``FILE ...``."""
    first, *rest = arguments
    sys.argv[:] = arguments
    if first == "-m":
        sys.argv[:] = rest
        sys.path[0] = os.getcwd()
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif first == "-c":
        sys.argv[:] = ["-c", *rest[1:]]
        sys.path[0] = ""
        sys.modules["__main__"] = main = types.ModuleType("__main__")
        exec(compile(rest[0], "<string>", "exec"), vars(main))
    else:
        sys.path[0] = os.path.dirname(os.path.abspath(first))
        runpy.run_path(os.path.abspath(first), run_name="__main__")


if __name__ == "__main__":
    import_all()
    run(next_command(socket.socket(fileno=os.dup(0)))["arguments"])
