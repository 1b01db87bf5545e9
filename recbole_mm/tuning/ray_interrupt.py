"""Ctrl-C during a search on Ray, which ends it between two of Tune's steps.

Python raises KeyboardInterrupt wherever it is: also in a destructor or in a callback of Ray's from C++, where it is
printed and lost, and the search goes on; or in the middle of a step, half of which is then in the state.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_asked = threading.Event()  # of the process: Ray pickles its callbacks, and a resumed search has copies of them


@contextmanager
def interrupted_between_steps() -> Iterator[None]:
    """Within, Ctrl-C is raised by :func:`raise_interrupt` alone, and a second one at once.

    Where somebody else handles Ctrl-C, or in another thread than the main one, nothing is changed.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler or threading.current_thread() is not threading.main_thread():
        yield
        return
    _asked.clear()
    signal.signal(signal.SIGINT, _note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        _asked.clear()


def _note(*_: Any) -> None:
    _asked.set()
    signal.signal(signal.SIGINT, signal.default_int_handler)


def raise_interrupt() -> None:
    """Raise KeyboardInterrupt if one was asked for; called at the end of every step."""
    if _asked.is_set():
        _asked.clear()
        raise KeyboardInterrupt
