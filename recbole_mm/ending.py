"""How commands end that do not end well: one line on standard error, and the exit code."""

from __future__ import annotations

import sys

from ray.exceptions import RayError, RayTaskError

from recbole_mm.io.errors import is_out_of_memory, one_line, printable

EXPECTED = (KeyboardInterrupt, MemoryError, OSError, RayError, RuntimeError, ValueError)  # NotImplementedError too


def end(error: BaseException) -> int:
    """Print the one line about one of the :data:`EXPECTED` errors; gives 130 after Ctrl-C and 2 after all others.

    Raises a RuntimeError that is not about memory, and what comes out of a process of Ray's and is none of them.
    """
    if isinstance(error, KeyboardInterrupt):
        print("; ".join(filter(None, ["interrupted", str(error)])), file=sys.stderr)
        return 130
    if isinstance(error, RayTaskError):
        if not isinstance(error.cause, EXPECTED):
            raise error
        error = error.cause
    message = str(error)
    if is_out_of_memory(error):
        message = f"out of memory; lower what the model's size or a batch's depends on ({one_line(error)[:200]})"
    elif isinstance(error, RuntimeError) and not isinstance(error, (NotImplementedError, RayError)):
        raise error
    if isinstance(error, RayError):  # a process of Ray's died, whose story takes pages
        message = f"a process of Ray's ended: {message.strip().splitlines()[0]}; type the same command again"
    print(f"error: {printable(message)}", file=sys.stderr)
    return 2
