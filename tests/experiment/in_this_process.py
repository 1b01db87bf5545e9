"""What stands for the processes of an experiment where nothing is about them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any


def in_this_process(do: Callable[[Any], Any], work: deque[Any], *_: Any) -> Iterator[tuple[Any, Any]]:
    """As :func:`recbole_mm.experiment.jobs.results_of`, one piece after the other."""
    while work:
        yield (piece := work.popleft()), do(piece)
