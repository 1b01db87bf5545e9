"""Interactions and items out of files with a JSON object a line, such as Amazon's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from recbole_mm.data.conversion.json_text import json_lines
from recbole_mm.data.conversion.layout import Interactions, Items

CHUNK_ROWS = 5000


def read_records(
    path: Path, user: str, items: Sequence[str], rating: str | None, times: Sequence[str]
) -> Iterator[Interactions]:
    """Interactions, a chunk of lines at a time.

    Args:
        user, rating: keys of the objects.
        items, times: keys; of each, the first that an object has.

    Raises:
        ValueError: a line is no object, or lacks a user or item; names file and line.
    """
    records = json_lines(path)
    while chunk := list(islice(records, CHUNK_ROWS)):
        lines = [line for line, _ in chunk]
        users = [_required(path, line, record, (user,)) for line, record in chunk]
        item_ids = [_required(path, line, record, items) for line, record in chunk]
        ratings = [_required(path, line, record, (rating,)) for line, record in chunk] if rating else None
        timestamps = [_required(path, line, record, times) for line, record in chunk]
        yield Interactions(users, item_ids, path, ratings, timestamps, None, lines)


def read_item_records(
    path: Path, items: Sequence[str], fields: Mapping[str, Callable[[dict[str, Any]], str | None]], *, literals: bool
) -> Iterator[Items]:
    """Texts of items, a chunk of lines at a time.

    Args:
        items: keys of the id.
        fields: what makes a field's text of an object.
        literals: see `json_lines`.
    """
    records = json_lines(path, literals=literals)
    while chunk := list(islice(records, CHUNK_ROWS)):
        ids = [_required(path, line, record, items) for line, record in chunk]
        texts = {name: [make(record) for _, record in chunk] for name, make in fields.items()}
        yield Items(ids, texts, path, [line for line, _ in chunk])


def _required(path: Path, line: int, record: dict[str, Any], keys: Sequence[str]) -> str:
    """A text, or a number as its text, which is the file's."""
    for key in keys:
        value = record.get(key)
        if value is None or value == "":
            continue
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise ValueError(f"{path}, line {line}: {key} is {value!r}, neither a text nor a number")
        return str(value)
    raise ValueError(f"{path}, line {line}: there is no {' or '.join(keys)}; found {', '.join(list(record)[:8])}")
