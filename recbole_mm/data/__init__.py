"""Data sets: reading, describing, converting."""

from __future__ import annotations

from typing import Any

__all__ = ["from_frames"]


def __getattr__(name: str) -> Any:
    if name == "from_frames":  # imported when asked for: the rest of the package does not need the converters
        from recbole_mm.data.frames import from_frames

        return from_frames
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
