"""How commands end that do not end well: one line on standard error, and the exit code."""

from __future__ import annotations

import sys

from ray.exceptions import RayError, RayTaskError

EXPECTED = (KeyboardInterrupt, NotImplementedError, OSError, RayError, ValueError)


def end(error: BaseException) -> int:
    """Print the one line about one of the :data:`EXPECTED` errors; gives 130 after Ctrl-C and 2 after all others.

    Raises what comes out of a process of Ray's and is none of them.
    """
    if isinstance(error, KeyboardInterrupt):
        print("; ".join(filter(None, ["interrupted", str(error)])), file=sys.stderr)
        return 130
    if isinstance(error, RayTaskError):
        if not isinstance(error.cause, EXPECTED):
            raise error
        error = error.cause
    message = str(error)
    if isinstance(error, RayError):  # a process of Ray's died, whose story takes pages
        message = f"a process of Ray's ended: {message.strip().splitlines()[0]}; type the same command again"
    print(f"error: {message}", file=sys.stderr)
    return 2
