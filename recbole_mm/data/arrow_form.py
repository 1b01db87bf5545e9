"""The binary form of a feature file: Arrow IPC, uncompressed, read by memory map."""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from recbole_mm.data.feature_table import (
    FeatureTable,
    checked_features,
    collapse_duplicates,
    first_non_finite,
)
from recbole_mm.data.text_identity import TextFile
from recbole_mm.io.arrow_sizes import unpacked_size
from recbole_mm.io.errors import one_line
from recbole_mm.io.files import atomic_file, check_room
from recbole_mm.io.memory import check_unpacked
from recbole_mm.io.reading import open_regular

if TYPE_CHECKING:
    import pyarrow as pa

ITEM_COLUMN = "item_id"


def write_arrow(
    path: Path,
    ids: Sequence[str],
    values: np.ndarray,
    *,
    encoder: str | None = None,
    source: str | None = None,
    text_file: TextFile | None = None,
    extra: dict[str, str] | None = None,
) -> None:
    """Write the binary form, atomically.

    Args:
        path: `<dataset>.<modality>.arrow`; the column of values is named after the modality.
        ids: item ids, `[n_rows]`.
        values: `[n_rows, width]`; float16 stays float16, everything else becomes float32.
        encoder: what computed the values.
        source: what they were computed from.
        text_file: the text form, as it was before it was read; its hash is kept, so that a later change of it is
            noticed.
        extra: further entries of the metadata.

    Raises:
        ValueError: see `checked_features`; the text form has changed since.
        OSError: the file cannot be written.
    """
    import pyarrow as pa

    ids, values = checked_features(ids, values, path)
    metadata = {"encoder": encoder, "source": source, **(extra or {})}
    if text_file is not None:
        metadata |= text_file.noted()
    batch = _record_batch(path, ids, values, {key: value for key, value in metadata.items() if value is not None})
    check_room(path, values.nbytes)
    with atomic_file(path) as temporary, pa.ipc.new_file(str(temporary), batch.schema) as writer:
        writer.write_batch(batch)


def _record_batch(path: Path, ids: Sequence[str], values: np.ndarray, metadata: dict[str, str]) -> pa.RecordBatch:
    import pyarrow as pa

    lists = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])
    modality = path.stem.rpartition(".")[2]
    columns = [
        pa.field(ITEM_COLUMN, pa.string(), nullable=False),
        pa.field(f"{modality}_feature", lists.type, nullable=False),
    ]
    return pa.record_batch([pa.array(ids, pa.string()), lists], schema=pa.schema(columns, metadata=metadata))


def read_metadata(path: Path) -> dict[str, str]:
    """The schema's metadata of a binary feature file, without touching its values."""
    table, _ = _open(path)
    return _metadata(table)


def read_arrow(path: Path, *, allow_non_finite: bool = False) -> FeatureTable:
    """Read the binary form; `values` is a view on the memory map unless the file holds several batches or
    duplicates.

    Raises:
        ValueError: the file is empty, damaged or of another schema, has no rows, gaps, non-finite values
            (unless allowed), or an item with two different rows. The message names the file and the id.
    """
    table, mapping = _open(path)
    _check_schema(path, table.schema)
    if table.num_rows == 0:
        raise ValueError(f"{path} holds no rows; make it again, or delete it")
    ids = _item_ids(path, table)
    values = _values(path, table, ids)

    def release() -> None:
        # Pages that were read count as memory of this process until given back; a later access maps them.
        if hasattr(mmap, "MADV_DONTNEED"):
            mapping.madvise(mmap.MADV_DONTNEED)

    bad = None if allow_non_finite else first_non_finite(values, release)
    if bad is not None:
        raise ValueError(
            f"{path}: item {ids[bad]!r} (row {bad}) holds a value that is not finite; "
            "correct it, or leave the item out, and make the file again"
        )
    ids, values = collapse_duplicates(ids, values, path, lambda row: f"row {row}")
    return FeatureTable(ids, values, path, _metadata(table), release)


def _open(path: Path) -> tuple[pa.Table, mmap.mmap]:
    import pyarrow as pa

    with open_regular(path) as file:
        if os.fstat(file.fileno()).st_size == 0:
            raise ValueError(f"{path} is empty; make it again, or delete it")
        mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    try:
        opened = pa.ipc.open_file(pa.BufferReader(pa.py_buffer(mapping)))
        size = unpacked_size(memoryview(mapping))
        if size:
            check_unpacked(path, size)
        table = opened.read_all()
        table.validate()
        _metadata(table), table.schema.names  # both are decoded only when they are asked for
    except (pa.ArrowException, OSError, UnicodeDecodeError, struct.error, IndexError) as error:
        raise ValueError(
            f"{path} is not a whole Arrow file, perhaps cut short ({one_line(error)}); make it again"
        ) from error
    return table, mapping


def _check_schema(path: Path, schema: pa.Schema) -> None:
    import pyarrow as pa

    lists = [column for column in schema if pa.types.is_fixed_size_list(column.type)]
    texts = (pa.string(), pa.large_string())
    numbers = (pa.float32(), pa.float16())
    named = ITEM_COLUMN in schema.names and schema.field(ITEM_COLUMN).type in texts
    if not named or len(lists) != 1 or lists[0].type.value_type not in numbers or lists[0].type.list_size < 1:
        columns = ", ".join(f"{column.name}: {column.type}" for column in schema)
        found = " ".join(columns.split()) or "no columns"  # a name may hold anything
        raise ValueError(
            f"{path}: expected the columns {ITEM_COLUMN} (string) and one fixed-size list of float32 or "
            f"float16, found {found}; write it with recbole_mm.data.feature_file.write_arrow"
        )


def _item_ids(path: Path, table: pa.Table) -> list[str]:
    import pyarrow as pa

    column = table.column(ITEM_COLUMN)
    try:
        column.validate(full=True)
    except pa.ArrowException as error:
        raise ValueError(f"{path}: its item ids are damaged ({one_line(error)}); make the file again") from error
    ids = column.to_pylist()
    for row, item in enumerate(ids):
        if not item:
            raise ValueError(f"{path}: row {row} has no item id; make the file again with an id in each row")
    return ids


def _values(path: Path, table: pa.Table, ids: list[str]) -> np.ndarray:
    import pyarrow as pa

    column = next(column for column in table.columns if pa.types.is_fixed_size_list(column.type))
    width = column.type.list_size
    parts = []
    row = 0
    for chunk in column.chunks:
        _check_no_gaps(path, chunk, ids[row : row + len(chunk)])
        parts.append(_view(chunk.flatten()).reshape(-1, width))
        row += len(chunk)
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _view(numbers: pa.Array) -> np.ndarray:
    # The array's own to_numpy would import pandas, for 50 MB and most of the time of reading a file.
    dtype = np.dtype(numbers.type.to_pandas_dtype())
    return np.frombuffer(numbers.buffers()[1], dtype, len(numbers), numbers.offset * dtype.itemsize)


def _check_no_gaps(path: Path, chunk: pa.FixedSizeListArray, ids: list[str]) -> None:
    row = None
    if chunk.null_count:
        row = chunk.is_null().index(True).as_py()
    elif chunk.flatten().null_count:
        row = chunk.flatten().is_null().index(True).as_py() // chunk.type.list_size
    if row is not None:
        raise ValueError(f"{path}: item {ids[row]!r} has a null in its features; leave the item out, or fill it")


def _metadata(table: pa.Table) -> dict[str, str]:
    return {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
