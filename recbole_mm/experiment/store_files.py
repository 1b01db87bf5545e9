"""Reading what a store is made of, and the files that its runs were made from."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from pydantic import TypeAdapter, ValidationError

from recbole_mm.data.file_digests import file_digests, first_suffix, unused_modalities
from recbole_mm.data.file_form import FileForm
from recbole_mm.experiment.record import LEAK, TRIED, LeakRecord, Tried
from recbole_mm.experiment.table_forms import Kind
from recbole_mm.io.errors import one_line
from recbole_mm.io.json_text import parse_json
from recbole_mm.io.reading import open_regular

if TYPE_CHECKING:
    import pandas as pd

Content = TypeVar("Content")
_ROUNDING = 1e-4  # RecBole's metrics have four digits
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
    found = read_as(file, TRIED, "delete it to search again")
    if sum(trial.chosen for trial in found) != 1:
        raise ValueError(f"{file} is damaged (not one setting is chosen); restore it, or delete it to search again")
    return found


def read_leak(file: Path) -> LeakRecord:
    """What a file of ``leaks/`` holds; raises ValueError where it is damaged, or of another check."""
    found = read_as(file, LEAK, "delete it to check again")
    if found.check != file.stem:
        raise ValueError(f"{file} is of check {found.check}; restore it, or delete it to check again")
    return found


def checked(content: Any, kind: TypeAdapter[Content]) -> Content:
    """Values of JSON's types as what they should be; raises pydantic's ValidationError.

    Written and read again, since pydantic takes no dictionary for a dataclass where its types are strict; what is none
    of JSON's types, as a Parquet file may have, is none of ours.
    """
    return kind.validate_json(json.dumps(content, default=lambda value: None), strict=True)


def read_parquet(
    file: Path, columns: Mapping[str, Kind], others: Kind | None = None, incomplete: tuple[str, ...] = ()
) -> pd.DataFrame:
    """A table of a store.

    Args:
        file: of the store.
        columns: that it must have, unless it has no row at all, and what they hold.
        others: what all other columns hold; None: anything.
        incomplete: what the names of others begin with that may hold NaN.

    Raises:
        ValueError: it is no Parquet file, lacks a column, or one holds something else; one line that names it.
    """
    import pandas as pd

    with open_regular(file) as opened:
        content = opened.read()
    try:
        table = pd.read_parquet(io.BytesIO(content))
    except Exception as error:  # of pyarrow's, thrift's and pandas' readers, whatever the damage leads them to
        raise ValueError(f"{file} is no whole Parquet file ({one_line(error)}); {_RESTORE}") from error
    if not len(table):
        return table.reindex(columns=[*columns, *(name for name in table if name not in columns)])
    for name in columns:
        if name not in table:
            raise ValueError(f"{file} has no column '{name}'; {_RESTORE}")
    for name in table:
        kind = columns.get(name, "number" if name.startswith(incomplete) else others)
        if kind is not None and not _holds(table[name], kind):
            raise ValueError(f"{file}: column '{name}' holds {_what(table[name])}, no {kind}; {_RESTORE}")
    return table


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
        return all(isinstance(value, str) for value in values)
    if kind == "list":
        return all(isinstance(cell, np.ndarray) and all(isinstance(value, str) for value in cell) for cell in values)
    if kind == "flag":
        return values.dtype == bool
    is_number = values.dtype.kind in "iuf"
    return is_number and (kind == "number" or bool(np.isfinite(values).all()))


def _what(values: pd.Series) -> str:
    kinds = {type(value).__name__ for value in values}
    if kinds <= {"float"}:
        return "numbers that are not finite"
    return " and ".join(sorted(kinds))


def changed_files(
    folder: Path,
    dataset: str,
    kept: dict[str, dict[str, str]],
    modalities: Iterable[str] | None = None,
    contents: Mapping[str, str] | None = None,
) -> list[str]:
    """Names of a data set's files that are others than those kept, new or gone, and of contents that are others.

    Args:
        folder: of the data set.
        dataset: its name, which its files begin with.
        kept: digests by data set and file; those of a data set that is not in it are added.
        modalities: whose features count; all if not given.
        contents: digests of what the runs read beside the data set, by what it is.
    """
    unused = unused_modalities(folder, dataset, modalities, FileForm.of_folder(folder))
    current = file_digests(folder, dataset, unused)
    before = kept.setdefault(dataset, current)
    if modalities is not None:  # a modality that no run before has read
        before |= {name: value for name, value in current.items() if name not in before}
    files = {name for name in before.keys() | current.keys() if name.startswith(f"{dataset}.")}
    names = {name for name in files if first_suffix(name, dataset) not in unused}
    changed = sorted(name for name in names if before.get(name) != current.get(name))
    return changed + [name for name, value in (contents or {}).items() if before.setdefault(name, value) != value]
