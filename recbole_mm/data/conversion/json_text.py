"""JSON of others: a whole file, or an object a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recbole_mm.data.conversion.text_lines import numbered_lines
from recbole_mm.io.json_text import parse_json
from recbole_mm.io.numbers import NumberError, literal, real


def read_json(path: Path) -> Any:
    """What a JSON file holds; raises ValueError with file, line and column where it is none."""
    text = "\n".join(line for _, line in numbered_lines(path))
    try:
        return parse_json(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}, line {error.lineno}, column {error.colno}: no JSON ({error.msg})") from error
    except ValueError as error:
        raise ValueError(f"{path} is no JSON that can be read ({error})") from error


def json_lines(path: Path, *, literals: bool = False, exact: bool = False) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a file that has one a line, with the numbers of their lines; blank lines are skipped.

    Args:
        literals: whether a line may be a Python dictionary instead, as in the metadata of Amazon 2014. Literals alone
            are read; nothing is evaluated.
        exact: whether numbers are the texts that the file has.

    Raises:
        ValueError: a line is none; names file and line.
    """
    for number, line in numbered_lines(path):
        if not line.strip():
            continue
        try:
            record = _parse(line, literals, exact)
        except NumberError as error:
            raise ValueError(f"{path}, line {number}: {error}") from error
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}, line {number}: no JSON object ({error}); correct or delete it") from error
        if not isinstance(record, dict):
            raise ValueError(f"{path}, line {number}: expected an object {{...}}, found {line[:40]!r}")
        yield number, record


def _parse(line: str, literals: bool, exact: bool) -> Any:
    try:
        record = json.loads(line, parse_int=str, parse_float=str) if exact else json.loads(line, parse_float=real)
    except ValueError as error:
        if not literals or isinstance(error, NumberError):
            raise
        record = _literal(line)
    if "\\ud" in line.lower():  # half of a pair of surrogates is no text
        json.dumps(record, ensure_ascii=False, default=str).encode()
    return record


def _literal(line: str) -> Any:
    """A Python dictionary's line; raises ValueError where it is none, in words of ours."""
    try:
        return literal(line)
    except NumberError:
        raise
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:  # the last of the parser's stack
        raise ValueError("nor a Python dictionary of plain values; code is not run") from error


def first_record(path: Path) -> dict[str, Any]:
    """The first object of such a file; empty where there is none: to recognise a file by it."""
    try:
        return next(json_lines(path, literals=True), (1, {}))[1]
    except (OSError, ValueError):
        return {}


def text_of(value: Any) -> str | None:
    """A text, or the texts of a list joined by a blank; None where there is nothing."""
    if isinstance(value, (list, tuple)):
        value = " ".join(filter(None, (text_of(element) for element in value)))
    elif value is not None and not isinstance(value, str):
        value = str(value) if isinstance(value, (int, float)) else None
    return value or None
