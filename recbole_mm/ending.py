"""How commands end that do not end well: one line on standard error, and the exit code."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from pydantic_core import SchemaError
from recbole.config import Config

from recbole_mm.io.errors import is_out_of_memory, one_line, printable

_EXPECTED = (KeyboardInterrupt, MemoryError, OSError, RuntimeError, SchemaError, ValueError)  # NotImplementedError too


def expected() -> tuple[type[BaseException], ...]:
    """The errors that :func:`end` has a line for; Ray's where something has imported it, as it takes time."""
    ray = sys.modules.get("ray.exceptions")
    return (*_EXPECTED, ray.RayError) if ray else _EXPECTED


def end(error: BaseException) -> int:
    """Print the one line about one of the :func:`expected` errors; gives 130 after Ctrl-C and 2 after all others.

    Raises a RuntimeError that is not about memory, and what comes out of a process of Ray's and is none of them.
    """
    if isinstance(error, SchemaError):  # pydantic's, which Ctrl-C ends in while it builds what reads settings
        if KeyboardInterrupt.__name__ not in str(error):
            raise error
        error = KeyboardInterrupt()
    if isinstance(error, KeyboardInterrupt):
        print("; ".join(filter(None, ["interrupted", str(error)])), file=sys.stderr)
        return 130
    ray = sys.modules.get("ray.exceptions")
    if ray is not None and isinstance(error, ray.RayTaskError):
        if not isinstance(error.cause, expected()):
            raise error
        error = error.cause
    is_rays = ray is not None and isinstance(error, ray.RayError)
    message = str(error).strip() or _place(error)
    if is_out_of_memory(error):
        message = f"out of memory; lower what the model's size or a batch's depends on ({one_line(error)[:200]})"
    elif isinstance(error, RuntimeError) and not (isinstance(error, NotImplementedError) or is_rays):
        raise error
    if is_rays:  # a process of Ray's died, whose story takes pages
        message = f"a process of Ray's ended: {message.strip().splitlines()[0]}; type the same command again"
    print(f"error: {printable(message)}", file=sys.stderr)
    return 2


def _place(error: BaseException) -> str:
    """Where an error comes from that says nothing itself, as of a method that somebody's class does not define."""
    frames = traceback.extract_tb(error.__traceback__)
    raised = f", raised in {frames[-1].filename}, line {frames[-1].lineno}, by {frames[-1].name}" if frames else ""
    return f"{type(error).__name__} without a message{raised}"


@contextmanager
def naming_recboles_model(config: Config) -> Iterator[None]:
    """Turn what one of RecBole's own models, few of whose settings it checks, ends with into a line for a user."""
    try:
        yield
    except Exception as error:
        has_words = isinstance(error, (OSError, ValueError, NotImplementedError)) or is_out_of_memory(error)
        if has_words or not config.model_class.__module__.startswith("recbole."):
            raise
        raise ValueError(
            f"{config.model}, RecBole's own model, ended with {type(error).__name__}: {one_line(error)}; a setting of "
            "its own, or a column that it needs, is not as it must be (--state=DEBUG shows where)"
        ) from error
