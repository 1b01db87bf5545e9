"""What an experiment shows while its runs go on."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable

from recbole_mm.io.errors import printable

_SECONDS = 60.0  # between two lines that stay


class StatusLine:
    """How far the work is that goes on, to standard error: one line on a terminal, written over; else one a minute."""

    def __init__(self) -> None:
        self._stream = sys.stderr
        self._is_terminal = self._stream.isatty()
        self._next = time.monotonic() + _SECONDS

    def show(self, text: Callable[[], str]) -> None:
        """Say how far it is, where it is time to; only then is the text asked for."""
        if self._is_terminal:
            self._write_over(printable(text()))
        elif time.monotonic() >= self._next:
            self._next = time.monotonic() + _SECONDS
            print(printable(text()), file=self._stream, flush=True)

    def clear(self) -> None:
        """Make room for a line that stays."""
        if self._is_terminal:
            self._write_over("")

    def _write_over(self, text: str) -> None:
        width = shutil.get_terminal_size().columns - 1
        self._stream.write(f"\r{text[:width]:{width}}\r")
        self._stream.flush()
