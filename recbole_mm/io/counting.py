"""Numbers of things as people read them."""

from __future__ import annotations


def counted(number: int, what: str, several: str | None = None) -> str:
    """``1 item`` and ``1,200 items``; `several` is for more than a letter s, as in ``3 items have``."""
    return f"{number:,} {what if number == 1 else several or what + 's'}"
