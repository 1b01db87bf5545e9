"""Reading and writing what a store is made of."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from pydantic import TypeAdapter, ValidationError

from recbole_mm.experiment.record import LEAK, TRIED, LeakRecord, Tried
from recbole_mm.experiment.table_forms import Kind, TableForm
from recbole_mm.io.errors import one_line
from recbole_mm.io.files import atomic_file
from recbole_mm.io.json_text import parse_json
from recbole_mm.io.reading import open_regular

if TYPE_CHECKING:
    import pandas as pd

Content = TypeVar("Content")
_ROUNDING = 1e-4  # RecBole's metrics have four digits
_SEARCH_AGAIN = "delete it to search again"
SEARCH_AGAIN = f"restore it, or {_SEARCH_AGAIN}"
_RESTORE = "restore it; tables are written again by experiment --resume"


def read_json(file: Path, kind: type) -> Any:
    """What a file of a store holds; raises ValueError, with its name, where that is not of this kind."""
    try:
        with open_regular(file) as opened:
            content = parse_json(opened.read().decode("utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} is damaged ({one_line(error)}); restore it, or delete it") from error
    if not isinstance(content, kind):
        raise ValueError(f"{file} is damaged (it holds a {type(content).__name__}); restore it, or delete it")
    return content


def read_as(file: Path, kind: TypeAdapter[Content], otherwise: str = "delete it") -> Content:
    """What a JSON file of a store holds, checked field by field.

    Args:
        file: of the store.
        kind: what it should hold.
        otherwise: what to do where it cannot be restored.

    Raises:
        ValueError: it holds something else; one line with the file and the field.
    """
    try:
        return checked(read_json(file, object), kind)
    except ValidationError as error:
        raise ValueError(f"{file} is damaged ({one_line(error)}); restore it, or {otherwise}") from None


def read_trials(file: Path) -> list[Tried]:
    """What a file of ``trials/`` holds; raises ValueError where it is damaged, or not one setting is chosen."""
    found = read_as(file, TRIED, _SEARCH_AGAIN)
    if sum(trial.chosen for trial in found) != 1:
        raise ValueError(f"{file} is damaged (not one setting is chosen); {SEARCH_AGAIN}")
    return found


def read_leak(file: Path) -> LeakRecord:
    """What a file of ``leaks/`` holds; raises ValueError where it is damaged, or of another check."""
    found = read_as(file, LEAK, "delete it to check again")
    if found.check != file.stem:
        raise ValueError(f"{file} is of check {found.check}; restore it, or delete it to check again")
    return found


def write_json(file: Path, value: Any, indent: int | None = None) -> None:
    """Write a JSON file of a store, whole or not at all."""
    with atomic_file(file) as temporary:
        temporary.write_text(json.dumps(value, indent=indent), encoding="utf-8")


def checked(content: Any, kind: TypeAdapter[Content]) -> Content:
    """Values of JSON's types as what they should be; raises pydantic's ValidationError.

    Written and read again, since pydantic takes no dictionary for a dataclass where its types are strict; what is none
    of JSON's types, as a Parquet file may have, is none of ours.
    """
    return kind.validate_json(json.dumps(content, default=lambda value: None), strict=True)


def read_parquet(file: Path, form: TableForm, remedy: str = _RESTORE) -> pd.DataFrame:
    """A table of a store.

    Args:
        file: of the store.
        form: its columns, of which one without a row may lack some.
        remedy: what to do where it is damaged.

    Raises:
        ValueError: it is no Parquet file, lacks a column, or one holds something else; one line that names it.
    """
    import pandas as pd

    with open_regular(file) as opened:
        content = opened.read()
    try:
        table = pd.read_parquet(io.BytesIO(content))
    except Exception as error:  # of pyarrow's, thrift's and pandas' readers, whatever the damage leads them to
        raise ValueError(f"{file} is no whole Parquet file ({one_line(error)}); {remedy}") from error
    if not len(table):
        return table.reindex(columns=[*form.columns, *(name for name in table if name not in form.columns)])
    for name in form.columns:
        if name not in table:
            raise ValueError(f"{file} has no column '{name}'; {remedy}")
    for name in table:
        kind = form.kind(name)
        if kind is not None and not _holds(table[name], kind):
            raise ValueError(f"{file}: column '{name}' holds {_what(table[name], kind)}, no {kind}; {remedy}")
    return table


def write_table(table: pd.DataFrame, file: Path) -> None:
    """Write a table of a store, which appears when it is complete."""
    with atomic_file(file) as temporary:
        table.to_parquet(temporary, index=False)


def check_measured(place: str | Path, test: Mapping[str, float], users: pd.DataFrame, remedy: str) -> None:
    """Raise ValueError where a run's metrics are not the means of what it has user by user.

    Args:
        place: where the metrics stand.
        test: these metrics.
        users: a row for each test user, with a column for each metric.
        remedy: what to do.
    """
    twice = users["user"][users["user"].duplicated()]
    if len(twice):
        raise ValueError(f"{place}: its users are damaged (user {twice.iloc[0]!r} is there twice); {remedy}")
    for name in users.columns.drop(["run", "user", "items"], errors="ignore"):
        if name not in test:
            raise ValueError(f"{place} is damaged (record.test has no {name}); {remedy}")
        mean = float(users[name].mean())  # NaN where no user has an item of a candidate set
        if mean == mean and not math.isclose(test[name], mean, rel_tol=_ROUNDING, abs_tol=_ROUNDING):
            raise ValueError(f"{place}: {name} is {test[name]:g}, and {mean:g} on average of its users; {remedy}")


def _holds(values: pd.Series, kind: Kind) -> bool:
    """Whether all of a column are of a kind; of several the first that is not tells little, so the answer is plain."""
    if kind == "text":
        texts = values.cat.categories if values.dtype == "category" else values  # where each stands once
        return not values.hasnans and all(isinstance(text, str) for text in texts)
    if kind == "list":
        return all(isinstance(cell, np.ndarray) and all(isinstance(value, str) for value in cell) for cell in values)
    if kind == "flag":
        return values.dtype == bool
    if kind == "count":
        return values.dtype.kind in "iu" and bool((values >= 0).all())
    is_number = values.dtype.kind in "iuf"
    return is_number and (kind == "number" or bool(np.isfinite(values).all()))


def _what(values: pd.Series, kind: Kind) -> str:
    kinds = {type(value).__name__ for value in values}
    if kind == "count" and kinds <= {"int"}:
        return "negative numbers"
    if kind == "finite number" and kinds <= {"float"}:
        return "numbers that are not finite"
    return " and ".join(sorted(kinds))
