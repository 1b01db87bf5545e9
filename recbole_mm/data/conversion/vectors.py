"""Vectors in the cells of text files: lists as Python, JSON and NumPy print them, and RecBole's without brackets."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from recbole_mm.io.numbers import NumberError, real
from recbole_mm.io.tables import reads_as_number

VECTORS = ":float_seq"
_LIST = re.compile(r"\s*[\[(](.*)[\])]\s*", re.DOTALL)


def is_vector(cell: str) -> bool:
    """Whether a cell holds a list of numbers in brackets, of which one is no whole number."""
    listed = _LIST.fullmatch(cell)
    if listed is None:
        return False
    words = _words(listed[1])
    return len(words) > 1 and all(map(reads_as_number, words)) and any(re.search("[.eE]", word) for word in words)


def parsed_vectors(cells: Any, column: str, place: Callable[[int], str]) -> Any:
    """Lists of numbers of cells of texts, None where one is empty; others as they are.

    Raises:
        ValueError: a cell holds anything else, or a number that would be read as another one; names its place.
    """
    if not isinstance(cells, list):
        return cells
    return [_parsed(cell, column, partial(place, row)) for row, cell in enumerate(cells)]


def _parsed(cell: str, column: str, place: Callable[[], str]) -> list[float] | None:
    listed = _LIST.fullmatch(cell)
    words = _words(cell if listed is None else listed[1])
    bad = next((word for word in words if not reads_as_number(word)), None)
    if bad is not None:
        remedy = "which NumPy prints for what it leaves out; save all" if bad == "..." else "no number; correct it"
        raise ValueError(f"{place()}: the vector in {column!r} has {bad[:40]!r}, {remedy}")
    try:
        return [real(word) for word in words] or None
    except NumberError as error:
        raise ValueError(f"{place()}: the vector in {column!r}: {error}") from error


def _words(listed: str) -> Sequence[str]:
    return re.split(r"\s*,\s*|\s+", listed.strip().strip(",")) if listed.strip() else []
