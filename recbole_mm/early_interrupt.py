"""Ctrl-C while ``python -m recbole_mm`` still imports what it needs, which takes seconds."""

from __future__ import annotations

import os
import signal
import sys
from itertools import pairwise


def end_quietly() -> None:
    """Until :func:`end_as_usual`, let Ctrl-C end the process in one line, if the command is what imports us."""
    is_command = any(option == "-m" and name == "recbole_mm" for option, name in pairwise(sys.orig_argv))
    is_importing = sys.argv[:1] == ["-m"]  # Python's placeholder until it has found the module to run
    if is_command and is_importing and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def end_as_usual() -> None:
    """Give Ctrl-C back to Python."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(*_) -> None:
    os.write(2, b"interrupted; nothing had begun\n")
    os._exit(130)
