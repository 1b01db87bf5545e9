"""Interactions, items and features out of tables, whatever they are stored as and whatever their columns are called."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from recbole_mm.data.conversion.arrow_tables import ArrowTable, ParquetTable
from recbole_mm.data.conversion.cells import as_array
from recbole_mm.data.conversion.columns import find_roles, guess, typed_field
from recbole_mm.data.conversion.delimited import DelimitedFile, header_of, is_delimited
from recbole_mm.data.conversion.layout import Features, Interactions, Items, SourceOptions
from recbole_mm.data.modality_name import modality_of

Table = DelimitedFile | ArrowTable
PARQUET = ".parquet"


def is_table(path: Path) -> bool:
    """Whether the name is that of a table that can be read."""
    return is_delimited(path) or path.suffix.lower() == PARQUET


def open_table(path: Path, options: SourceOptions | None = None) -> Table:
    """A table of a file, by its name's suffix.

    Raises:
        OSError: it is no regular file.
        ValueError: it is empty or damaged; a column is there twice; the suffix is no table's.
    """
    if path.suffix.lower() == PARQUET:
        return ParquetTable(path)
    if not is_delimited(path):
        raise ValueError(f"{path}: its suffix is none of a table; name it .csv, .tsv, .txt or .parquet, as it is")
    named = (options.user, options.item, options.rating, options.time) if options else ()
    return DelimitedFile(path, named=tuple(name for name in named if name))


def columns_of(path: Path) -> list[str]:
    """The columns of a table, without raising: to recognise a file by them."""
    if path.suffix.lower() != PARQUET:
        return header_of(path)
    try:
        return ParquetTable(path).columns
    except (OSError, ValueError):
        return []


def is_of_interactions(path: Path) -> bool:
    """Whether the columns' names say user and item."""
    columns = columns_of(path)
    return guess(columns, "user") is not None and guess(columns, "item") is not None


def is_of_items(path: Path) -> bool:
    """Whether the columns' names say item, and not user."""
    columns = columns_of(path)
    return len(columns) > 1 and guess(columns, "item") is not None and guess(columns, "user") is None


def table_plan(table: Table, options: SourceOptions) -> str:
    """How a table of interactions is read, for the plan."""
    roles = find_roles(table.path, table.columns, options, has_header=table.has_header)
    header = "" if table.has_header else " (no header: columns by position)"
    unread = [column for column in table.columns if column not in roles.read()]
    return f"{table.path.name}{header}: {roles.shown()}" + (f"; not read: {', '.join(unread)}" if unread else "")


def read_interactions(table: Table, options: SourceOptions, split: str | None = None) -> Iterator[Interactions]:
    """The interactions of a table, a chunk at a time."""
    roles = find_roles(table.path, table.columns, options, has_header=table.has_header)
    for cells, lines in table.batches(roles.read()):
        rating = cells[roles.rating] if roles.rating is not None else None
        time = cells[roles.time] if roles.time is not None else None
        yield Interactions(cells[roles.user], cells[roles.item], table.path, rating, time, split, lines)


def item_column(table: Table, options: SourceOptions) -> str:
    """The column of the ids in a table of items: the one named as in the interactions, a known name, or the first."""
    if options.item in table.columns:
        return str(options.item)
    return guess(table.columns, "item") or next((c for c in table.columns if c.lower() == "id"), table.columns[0])


def read_items(table: Table, options: SourceOptions) -> Iterator[Items]:
    """The texts of a table of items, a chunk at a time; its columns of vectors are features."""
    item = item_column(table, options)
    columns = [column for column in table.columns if column != item and column not in table.vector_columns()]
    if not columns:
        return
    names = [typed_field(column) for column in columns]
    if len(set(names)) < len(names):
        raise ValueError(
            f"{table.path}: two columns would both be the field {max(names, key=names.count)!r}; rename one"
        )
    for cells, lines in table.batches([item, *columns]):
        fields = {name: _texts(cells[column], table.path) for name, column in zip(names, columns, strict=True)}
        yield Items(cells[item], fields, table.path, lines)


def vector_features(table: Table, options: SourceOptions) -> Iterator[Features]:
    """The columns of vectors of a table of items, a modality each."""
    item = item_column(table, options)
    for column in table.vector_columns():
        yield Features(modality_of(column), table.path, partial(_vector_blocks, table, item, column))


def _vector_blocks(table: Table, item: str, column: str) -> Iterator[tuple[list[str], np.ndarray]]:
    def place(row: int) -> str:
        return f"{table.path}, row {row + 1}"

    for cells, _ in table.batches([item, column]):
        vectors = as_array(cells[column], column, place)
        there = [row for row in range(len(vectors)) if vectors[row].is_valid]  # none: an item without features
        ids = [_id_text(table.path, value) for value in as_array(cells[item], "item id", place).take(there).to_pylist()]
        if not ids:
            continue
        vectors = vectors.take(there)
        numbers = vectors.flatten()
        if numbers.null_count:
            raise ValueError(f"{table.path}: a vector in the column {column!r} has a gap; fill it")
        widths = {len(vector) for vector in vectors}
        if len(widths) > 1:
            raise ValueError(f"{table.path}: vectors of {min(widths)} and {max(widths)} values in {column!r}")
        yield ids, numbers.to_numpy(zero_copy_only=False).reshape(len(ids), -1)


def _id_text(path: Path, value: Any) -> str:
    if value is None:
        raise ValueError(f"{path}: a row has no item id; fill it, or delete the row")
    return str(value)


def _texts(cells: Any, path: Path) -> Sequence[str | None]:
    if isinstance(cells, list):
        return cells
    return [_shown(value) for value in as_array(cells, "text", lambda row: f"{path}, row {row + 1}").to_pylist()]


def _shown(value: Any) -> str | None:
    if isinstance(value, list):
        return " ".join(filter(None, (_shown(one) for one in value)))
    return value if value is None or isinstance(value, str) else str(value)
