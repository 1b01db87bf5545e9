"""A progress bar for what takes longer than two seconds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from tqdm import tqdm

SECONDS = 2


def progress(chunks: Iterable[Any], what: str) -> Iterator[Any]:
    """The chunks, counted by their rows on standard error once two seconds are over."""
    with tqdm(desc=what, unit=" rows", unit_scale=True, delay=SECONDS, leave=False) as bar:
        for chunk in chunks:
            yield chunk
            bar.update(_rows(chunk))


def _rows(chunk: Any) -> int:
    return len(chunk[0]) if isinstance(chunk, tuple) else len(getattr(chunk, "users", getattr(chunk, "ids", ())))
