"""The first line of an atomic file: names of columns and their types."""

from __future__ import annotations

import json
import os

TYPES = ("token", "float", "token_seq", "float_seq")
_SEPARATORS = {"\t": "tabs", "::": "::", ",": ",", ";": ";", "|": "|", " ": "blanks"}
_OF_MMREC = {"userID", "itemID", "x_label"}


def column_types(path: str | os.PathLike[str], columns: list[str], separator: str = "\t") -> dict[str, str]:
    """Names of columns and their types, from the cells of a first line; raises ValueError, naming file and line."""
    found: dict[str, str] = {}
    for column in columns:
        name, _, kind = column.rpartition(":")
        if not _is_typed(column):
            raise ValueError(f"{path}, line 1: {_no_column(column, columns, separator)}")
        if name in found:
            raise ValueError(f"{path}, line 1: the column '{name}' stands there twice; keep one")
        found[name] = kind
    return found


def _is_typed(column: str) -> bool:
    name, _, kind = column.rpartition(":")
    return kind in TYPES and bool(name) and ":" not in name


def check_separator(path: str | os.PathLike[str], first_line: str, separator: str) -> None:
    """Raise ValueError where a separator that was set finds no columns in a first line that has them with another one.

    Then it is the setting that is wrong, and no line of the file.
    """
    first_line = first_line.replace('"', "")
    if separator == "\t" or all(map(_is_typed, first_line.split(separator))):  # a tab is what nobody had to set
        return
    for mark, name in _SEPARATORS.items():
        columns = first_line.split(mark)
        if len(mark) == 1 and len(columns) > 1 and all(map(_is_typed, columns)):
            raise ValueError(
                f"field_separator: {separator!r} separates no columns of {path}, whose first line has {name} between "
                f"them; set field_separator: {json.dumps(mark)}"
            )


def _no_column(column: str, columns: list[str], separator: str) -> str:
    expected = f"it begins with the columns as name:type, such as user_id:token, with one of {', '.join(TYPES)}"
    if len(columns) == 1:
        other = next((mark for mark in _SEPARATORS if mark != separator and mark in column), None)
        if other is not None:
            remedy = "set field_separator, or separate it by tabs" if len(other) == 1 else "separate it by tabs"
            return f"'{column[:40]}' seems to be separated by {_SEPARATORS[other]}; {remedy}"
    if _OF_MMREC & set(columns):
        return f"'{column}' is of MMRec's own files, which are converted first: recbole-mm convert mmrec"
    if ":" in column and column.rpartition(":")[0]:
        return f"'{column.rpartition(':')[2]}' of the column '{column}' is no type; {expected}"
    return f"'{column}' is no column with its type; {expected}"
