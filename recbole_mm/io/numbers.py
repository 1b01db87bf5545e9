"""Numbers that Python reads as others without a word: 1e-400 as 0, and 1e400 as infinity."""

from __future__ import annotations

import ast
import math
import re
from typing import Any

_EXTREME = re.compile(r"[\d.][eE][-+]?[\d_]{3}|[\d_]{300}")  # what only such a number has


class NumberError(ValueError):
    """Says which number it is, without the place where it stands."""


def check_number(word: str, value: float) -> None:
    """Raise NumberError where a word of digits was read as 0 or infinity, and says another number."""
    if (value == 0 or math.isinf(value)) and re.search("[1-9]", re.split("[eE]", word)[0]):
        raise NumberError(f"{word:.40} is read as {value:g}, as numbers end at 1e-308 and 1e308; write one of these")


def real(word: str) -> float:
    """As ``float``, and raises what it does; NumberError for a number that it would read as another."""
    value = float(word)
    check_number(word, value)
    return value


def literal(text: str) -> Any:
    """As ``ast.literal_eval``, and raises what it does; NumberError for a number that it would read as another."""
    text = text.lstrip(" \t")
    tree = ast.parse(text, mode="eval")
    value = ast.literal_eval(tree)
    for part in ast.walk(tree) if _EXTREME.search(text) else ():
        if isinstance(part, ast.Constant) and isinstance(part.value, float) and part.value in (0, math.inf):
            check_number(ast.get_source_segment(text, part) or "", part.value)
    return value
