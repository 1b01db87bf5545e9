"""The tables of a store's ``data/HASH/``: what each data set and split has."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from recbole_mm.experiment.store_files import read_parquet, write_table
from recbole_mm.experiment.table_forms import DATA
from recbole_mm.io.reading import has_file

if TYPE_CHECKING:
    import pandas as pd

_RESTORE = "restore it, or run the experiment again with another --out"
_MAY_LACK = ("train",)  # stores of before it was in them


def data_file(store: Path, data: str, name: str) -> Path:
    """Where a store keeps ``items``, ``users``, ``train`` or ``test`` of its data of a name."""
    return store / "data" / data / f"{name}.parquet"


def read_data(store: Path, data: str, name: str) -> pd.DataFrame:
    """A table of the data that a run was trained on.

    Args:
        store: folder.
        data: name of the data in it.
        name: ``items``, ``users``, ``train`` or ``test``.

    Raises:
        ValueError: it is missing, no Parquet file, without a row, or a column is absent or holds something else.
    """
    file = data_file(store, data, name)
    if not has_file(file):
        raise ValueError(f"{file} is missing; {_RESTORE}")
    table = read_parquet(file, DATA[name], _RESTORE)
    if not len(table):
        raise ValueError(f"{file} has no row; {_RESTORE}")
    key = name.removesuffix("s")  # of items and users each stands once
    if key != name and table[key].duplicated().any():
        raise ValueError(f"{file}: {key} {table[key][table[key].duplicated()].iloc[0]!r} is there twice; {_RESTORE}")
    return table


def keep_data(store: Path, data: str, name: str, table: pd.DataFrame) -> None:
    """Write a table of a store's data where there is none; of its items what the one there lacks.

    A run knows of the modalities that it reads alone, and one of RecBole's own models of none.
    """
    file = data_file(store, data, name)
    if file.is_file():
        if name != "items":
            return
        there = read_data(store, data, name)
        lacking = [column for column in table if column not in there]
        if not lacking:
            return
        table = there.merge(table[["item", *lacking]], on="item")
    file.parent.mkdir(parents=True, exist_ok=True)
    write_table(table, file)


def check_data_tables(store: Path, names: Iterable[str]) -> None:
    """Raise ValueError as :func:`read_data` for any table of a store's data of these names."""
    for data in sorted(set(names)):
        for name in DATA:
            if name not in _MAY_LACK or has_file(data_file(store, data, name)):
                read_data(store, data, name)
