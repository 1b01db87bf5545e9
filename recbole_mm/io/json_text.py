"""JSON of files, in which a key that stands twice is a mistake, and not the later of the two."""

from __future__ import annotations

import json
from typing import Any

from recbole_mm.io.numbers import real


def parse_json(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: it is none, json.JSONDecodeError with line and column, an object has a key twice, a number would be
            read as another one, or it is nested deeper than Python reads.
    """
    try:
        return json.loads(text, object_pairs_hook=_each_key_once, parse_float=real)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for i, key in enumerate(keys) if key in keys[:i])
        raise ValueError(f"the key {twice!r} is there twice")
    return content
