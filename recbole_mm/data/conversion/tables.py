"""Interactions, items and features out of tables, whatever they are stored as and whatever their columns are called."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from recbole_mm.data.conversion.arrow_tables import ArrowTable, ParquetTable
from recbole_mm.data.conversion.cells import as_array, id_texts
from recbole_mm.data.conversion.columns import Roles, find_roles, guess, is_index, typed_field
from recbole_mm.data.conversion.delimited import DelimitedFile, header_of, is_delimited
from recbole_mm.data.conversion.json_table import JsonTable, is_json_table
from recbole_mm.data.conversion.json_text import first_record
from recbole_mm.data.conversion.layout import Features, Interactions, Items, SourceOptions
from recbole_mm.data.conversion.vectors import parsed_vectors
from recbole_mm.data.modality_name import modality_of
from recbole_mm.io.counting import counted

Table = DelimitedFile | JsonTable | ArrowTable
PARQUET = ".parquet"
VECTORS_A_BLOCK = 4096
LEAST_SPREAD = 8  # columns with consecutive numbers that are taken for the values of a vector


def is_table(path: Path) -> bool:
    """Whether the name is that of a table that can be read."""
    return is_delimited(path) or is_json_table(path) or path.suffix.lower() == PARQUET


def open_table(path: Path, options: SourceOptions | None = None) -> Table:
    """A table of a file, by its name's suffix.

    Raises:
        OSError: it is no regular file.
        ValueError: it is empty or damaged; a column is there twice; the suffix is no table's.
    """
    if path.suffix.lower() == PARQUET:
        return ParquetTable(path)
    if is_json_table(path):
        return JsonTable(path)
    if not is_delimited(path):
        raise ValueError(
            f"{path}: its suffix is none of a table; name it .csv, .tsv, .txt, .json or .parquet, as it is"
        )
    named = (options.user, options.item, options.rating, options.time) if options else ()
    return DelimitedFile(path, named=tuple(name for name in named if name))


def columns_of(path: Path) -> list[str]:
    """The columns of a table, without raising: to recognise a file by them."""
    if is_delimited(path):
        return header_of(path)
    if is_json_table(path):
        return list(first_record(path))
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


def _roles(table: Table, options: SourceOptions) -> Roles:
    places = None if table.has_header or not isinstance(table, DelimitedFile) else table.positions
    return find_roles(table.path, table.columns, options, places)


def table_plan(table: Table, options: SourceOptions) -> str:
    """How a table of interactions is read, for the plan."""
    roles = _roles(table, options)
    header = "" if table.has_header else " (no header: columns by position)"
    unread = [column for column in table.columns if column not in roles.read()]
    shown = ", ".join(column or "one without a name" for column in unread)
    return f"{table.path.name}{header}: {roles.shown()}" + (f"; not read: {shown}" if unread else "")


def read_interactions(table: Table, options: SourceOptions, split: str | None = None) -> Iterator[Interactions]:
    """The interactions of a table, a chunk at a time."""
    roles = _roles(table, options)
    for cells, lines in table.batches(roles.read()):
        rating = cells[roles.rating] if roles.rating is not None else None
        time = cells[roles.time] if roles.time is not None else None
        yield Interactions(cells[roles.user], cells[roles.item], table.path, rating, time, split, lines)


def item_column(table: Table, options: SourceOptions) -> str:
    """The column of the ids in a table of items.

    The one named as in the interactions, a known name, the index of a frame of pandas, or the first.
    """
    if options.item in table.columns:
        return str(options.item)
    index = (column for column in table.columns if column.lower() == "id" or is_index(column))
    return guess(table.columns, "item") or next(index, table.columns[0])


def item_plan(table: Table, options: SourceOptions) -> str:
    """How a table of items is read, for the plan."""
    item, vectors = item_column(table, options), table.vector_columns()
    parts = {"texts": text_columns(table, item), "vectors": list(vectors)}
    shown = "".join(f"; {what}: {', '.join(columns)}" for what, columns in parts.items() if columns)
    return f"{table.path.name}: items, item = {item!r}{shown}"


def text_columns(table: Table, item: str) -> list[str]:
    """The columns that are texts of items: neither ids nor vectors, nor the index of a frame of pandas."""
    others = {item, *table.vector_columns()}
    return [column for column in table.columns if column not in others and not is_index(column)]


def read_items(table: Table, options: SourceOptions) -> Iterator[Items]:
    """The texts of a table of items, a chunk at a time; its columns of vectors are features.

    Raises:
        ValueError: it has neither texts nor vectors beside the ids, or a column for each value of vectors; two columns
            would be one field.
    """
    item = item_column(table, options)
    columns = text_columns(table, item)
    if not columns and not table.vector_columns():
        raise ValueError(f"{table.path} has the column {item!r} alone, where items have ids and texts; add the others")
    _check_no_spread_vectors(table.path, columns)
    names = [typed_field(column) for column in columns]
    if len(set(names)) < len(names):
        raise ValueError(
            f"{table.path}: two columns would both be the field {max(names, key=names.count)!r}; rename one"
        )
    for cells, lines in table.batches([item, *columns]) if columns else ():
        fields = {name: _texts(cells[column], table.path) for name, column in zip(names, columns, strict=True)}
        yield Items(cells[item], fields, table.path, lines)


def _check_no_spread_vectors(path: Path, columns: list[str]) -> None:
    """Raise ValueError for columns such as f0, f1, f2, ...: a vector with a column for each value is no text."""
    numbered = [re.fullmatch(r"(.*?)(\d+)", column) for column in columns]
    names: Counter[str] = Counter(match[1] for match in numbered if match)
    for name, count in names.items():
        if count >= LEAST_SPREAD and all(f"{name}{number}" in columns for number in range(1, count)):
            raise ValueError(
                f"{path}: {count} columns {name}1, {name}2, ... seem to be the values of vectors; make one column of "
                "lists, or an array, numpy.save('FILE.npy', ...), and a modality of it with recbole-mm convert npy"
            )


def vector_features(table: Table, options: SourceOptions) -> Iterator[Features]:
    """The columns of vectors of a table of items, a modality each."""
    item = item_column(table, options)
    for column in table.vector_columns():
        yield Features(modality_of(column.partition(":")[0]), table.path, partial(_vector_blocks, table, item, column))


def renamed(features: Features, names: Callable[[Sequence[str]], list[str]]) -> Features:
    """The same rows under other ids."""

    def blocks() -> Iterator[tuple[list[str], np.ndarray]]:
        for ids, values in features.blocks():
            yield names(ids), values

    return replace(features, blocks=blocks)


def _vector_blocks(table: Table, item: str, column: str) -> Iterator[tuple[list[str], np.ndarray]]:
    width = None
    for cells, lines in table.batches([item, column], VECTORS_A_BLOCK):

        def place(row: int, there: Sequence[int] | None = None, lines: Sequence[int] = lines) -> str:
            unit = "row" if isinstance(lines, range) else "line"
            return f"{table.path}, {unit} {lines[row if there is None else there[row]]}"

        vectors = as_array(parsed_vectors(cells[column], column, place), column, place)
        there = [row for row in range(len(vectors)) if vectors[row].is_valid]  # none: an item without features
        if not there:
            continue
        ids = id_texts(as_array(cells[item], "item id", place).take(there), "item id", partial(place, there=there))
        vectors = vectors.take(there)
        for row, vector in zip(there, vectors, strict=True):
            width = len(vector) if width is None else width
            if len(vector) != width:
                values = counted(len(vector), "value")
                raise ValueError(f"{place(row)}: {values} in {column!r} where others have {width}")
            if vector.values.null_count:
                raise ValueError(f"{place(row)}: the vector in {column!r} has a gap; fill it, or leave the cell empty")
        yield ids.to_pylist(), vectors.flatten().to_numpy(zero_copy_only=False).reshape(len(there), -1)


def _texts(cells: Any, path: Path) -> Sequence[str | None]:
    if isinstance(cells, list):
        return cells
    return [_shown(value) for value in as_array(cells, "text", lambda row: f"{path}, row {row + 1}").to_pylist()]


def _shown(value: Any) -> str | None:
    if isinstance(value, list):
        return " ".join(filter(None, (_shown(element) for element in value)))
    return value if value is None or isinstance(value, str) else str(value)
