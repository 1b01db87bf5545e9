"""Work side by side: processes of this machine with the cores shared out, or those of a Ray cluster."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any, TypeVar

import ray
from ray.exceptions import RayError

from recbole_mm.experiment.progress import StatusLine
from recbole_mm.ray_session import AGAIN, check_head, ray_session

Work = TypeVar("Work")
Result = TypeVar("Result")
_LOOK_SECONDS = 2.0  # from one look at the work that runs to the next

_start: ContextVar[Callable[[], None]] = ContextVar("_start", default=lambda: None)


@contextmanager
def ray_when_needed(address: str | None = None, go_on: str = AGAIN) -> Iterator[None]:
    """Within, the first piece of work starts Ray, which takes seconds, as :func:`ray_session` does; its end ends it."""
    with ExitStack() as session:
        before = _start.set(cache(lambda: session.enter_context(ray_session(address, go_on))))
        try:
            yield
        finally:
            _start.reset(before)


def results_of(
    run: Callable[[Work], Result],
    work: deque[Work],
    at_a_time: int,
    died: Callable[[Work, str], Result],
    how_far: Callable[[Work], str] = str,
) -> Iterator[tuple[Work, Result]]:
    """Each piece of work and its result, as they end. Within a Ray session, or :func:`ray_when_needed`.

    Args:
        run: does one piece, in a process that does others before and after; `str` of the work names it in the log.
        work: pieces, the first ones first; more may be put into it while results are taken.
        at_a_time: how many run side by side.
        died: gives the result of a piece whose process ended, and why it did.
        how_far: what is shown of a piece while it runs.
    """
    if not work:
        return
    _start.get()()
    cores, gpus = (float(ray.cluster_resources().get(kind, least)) for kind, least in (("CPU", 1), ("GPU", 0)))
    task = ray.remote(run).options(
        num_cpus=max(cores / at_a_time, 0.01) if cores < at_a_time else int(cores // at_a_time),
        num_gpus=min(1.0, gpus / at_a_time),
        max_retries=0,
    )
    running: dict[ray.ObjectRef[Any], Work] = {}
    status = StatusLine()
    while work or running:
        while work and len(running) < at_a_time:
            piece = work.popleft()
            logging.getLogger(__name__).info("%s: begins", piece)
            running[task.remote(piece)] = piece
        while not (ended := ray.wait(list(running), num_returns=1, timeout=_LOOK_SECONDS)[0]):
            status.show(lambda: f"running: {'; '.join(map(how_far, running.values()))}")
        status.clear()
        piece = running.pop(ended[0])
        yield piece, _result(ended[0], piece, died)


def _result(reference: ray.ObjectRef[Any], piece: Work, died: Callable[[Work, str], Result]) -> Result:
    try:
        return ray.get(reference)
    except RayError as error:  # killed, or out of memory
        check_head()
        return died(piece, f"its process ended: {str(error).strip().splitlines()[0]}")
