"""Tables as Arrow has them: Parquet files, and data frames of pandas, polars and others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_mm.io.errors import one_line
from recbole_mm.io.memory import check_unpacked
from recbole_mm.io.reading import open_regular

if TYPE_CHECKING:
    import pyarrow as pa

CHUNK_ROWS = 100_000
_MOST_TEXT = 1 << 30  # bytes of one column in so many rows: a text that stands there once may be meant a million times
_USUAL_PACKING = 100  # bytes of lists for one of the file; what is packed more is held against the memory


class ArrowTable:
    """Columns of a table, read some rows at a time. `path` is what messages call it."""

    has_header = True

    def __init__(self, path: Path, schema: pa.Schema):
        self.path = path
        self.schema = schema
        self._range = _range_index(schema)
        self.columns = [*schema.names, *self._range]
        _check_named_once(path, self.columns)

    def vector_columns(self) -> dict[str, int]:
        """Columns whose cells are lists of numbers, with their width, 0 where it is not fixed."""
        import pyarrow as pa

        widths = {}
        for field in self.schema:
            if _is_list(field.type) and pa.types.is_floating(field.type.value_type):
                widths[field.name] = field.type.list_size if pa.types.is_fixed_size_list(field.type) else 0
        return widths

    def batches(self, columns: list[str], n_rows: int = CHUNK_ROWS) -> Iterator[tuple[dict[str, Any], range]]:
        """Arrays of some columns, a chunk of rows at a time, with the numbers of its rows."""
        stored, start = [name for name in columns if name not in self._range], 0
        for batch in self._batches(stored, n_rows):
            stop = start + batch.num_rows
            index = {name: numbers[start:stop] for name, numbers in self._range.items()}
            cells = {name: batch.column(name) if name in stored else index[name] for name in columns}
            yield cells, range(start + 1, stop + 1)
            start = stop

    def _batches(self, columns: list[str], n_rows: int) -> Iterator[pa.RecordBatch]:
        raise NotImplementedError


class ParquetTable(ArrowTable):
    """A Parquet file.

    Raises:
        OSError: it is no regular file.
        ValueError: it is damaged, or a column is there twice.
    """

    def __init__(self, path: Path):
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with open_regular(path) as file:
                schema = pq.ParquetFile(file).schema_arrow
                schema.names  # noqa: B018  decoded only now, and whatever they are
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise ValueError(f"{path} is no whole Parquet file ({one_line(error)}); make it again") from error
        super().__init__(path, schema)

    def _batches(self, columns: list[str], n_rows: int) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        with open_regular(self.path) as file:
            try:
                metadata = pq.read_metadata(file)
                self._check_lists(metadata)
                whole = pq.ParquetFile(file, metadata=metadata, read_dictionary=self._texts(metadata.schema, columns))
                for batch in whole.iter_batches(n_rows, columns=columns):
                    batch.validate(full=True)  # of texts that are no UTF-8
                    yield self._decoded(batch)
            except (pa.ArrowException, OSError) as error:
                raise ValueError(f"{self.path} is no whole Parquet file ({one_line(error)}); make it again") from error

    def _check_lists(self, metadata: Any) -> None:
        """Raise ValueError where the lists of a small file take most of the memory: equal values are stored once."""
        listed = [place for place in range(metadata.num_columns) if metadata.schema.column(place).max_repetition_level]
        for group in map(metadata.row_group, range(metadata.num_row_groups)):
            size = 4 * sum(group.column(place).num_values for place in listed)
            if size > _USUAL_PACKING * self.path.stat().st_size:
                check_unpacked(self.path, size, "save it with fewer rows in a group")

    def _texts(self, schema: Any, columns: Sequence[str]) -> list[str]:
        """Where the texts of some columns, and of lists in them, stand, as Parquet names it."""
        texts = [field.name for field in self.schema if field.name in columns and _is_text(_innermost(field.type))]
        paths = [schema.column(place).path for place in range(len(schema))]
        return [path for path in paths if any(f"{path}.".startswith(f"{name}.") for name in texts)]

    def _decoded(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Texts as such; raises ValueError where a small file means a great deal of them."""
        import pyarrow as pa
        import pyarrow.compute as pc

        for place, name in enumerate(batch.schema.names):
            column, kind = batch.column(place), self.schema.field(name).type
            words = column
            while _is_list(words.type):
                words = words.flatten()
            if not (pa.types.is_dictionary(words.type) and _is_text(words.type.value_type)):
                continue
            size = pc.sum(pc.binary_length(words.dictionary).take(words.indices)).as_py() or 0
            if size > _MOST_TEXT:
                raise ValueError(
                    f"{self.path}: {batch.num_rows} rows hold {size / 1e9:.3g} GB of texts in {name!r}; shorten them, "
                    "or leave the column out"
                )
            if _is_text(_innermost(kind)):
                whole = column.dictionary_decode() if words is column else column
                batch = batch.set_column(place, name, whole.cast(kind))
        return batch


def _is_list(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _innermost(kind: pa.DataType) -> pa.DataType:
    """What lists are of, and lists in them; another type itself."""
    while _is_list(kind):
        kind = kind.value_type
    return kind


def _is_text(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_binary(kind)


class FrameTable(ArrowTable):
    """A data frame of pandas, polars, pyarrow or any library that gives Arrow streams.

    Raises:
        ValueError: it is no data frame, or holds what Arrow does not know.
    """

    def __init__(self, frame: Any, name: str):
        self.table = _as_table(frame, name)
        super().__init__(Path(name), self.table.schema)

    def column(self, name: str) -> Any:
        """All values of a column."""
        return self._range[name] if name in self._range else self.table.column(name)

    def _batches(self, columns: list[str], n_rows: int) -> Iterator[pa.RecordBatch]:
        yield from self.table.select(columns).to_batches(n_rows)


def _check_named_once(source: Path | str, columns: Sequence[str]) -> None:
    """Raise ValueError for a column that is there twice."""
    twice = next((name for name in columns if columns.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"{source}: the column {twice!r} is there twice; rename one")


def _as_table(frame: Any, name: str) -> pa.Table:
    import pyarrow as pa

    if type(frame).__name__ == "LazyFrame":
        raise ValueError(f"{name}: a LazyFrame holds no rows yet; give {name}.collect()")
    _check_named_once(name, [column for column in getattr(frame, "columns", ()) if isinstance(column, str)])
    try:
        if hasattr(frame, "__arrow_c_stream__"):
            return pa.table(frame)
        if hasattr(frame, "to_arrow"):  # polars before 1.0
            return frame.to_arrow()
        return pa.Table.from_pandas(frame, preserve_index=False)  # pandas before 2.2
    except AttributeError as error:
        raise ValueError(f"{name}: {type(frame).__name__} is no data frame; give one of pandas or polars") from error
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise ValueError(f"{name}: a column cannot be read ({one_line(error)}); cast it") from error


def _range_index(schema: pa.Schema) -> dict[str, range]:
    """The index of pandas that is in no column, as its numbers are consecutive, by its name where it has one."""
    try:
        described = (schema.pandas_metadata or {}).get("index_columns", [])
    except ValueError:  # not as pandas writes it
        return {}
    found = {}
    for column in described:
        if isinstance(column, dict) and column.get("kind") == "range" and isinstance(column.get("name"), str):
            found[column["name"]] = range(column["start"], column["stop"], column["step"])
    return {name: numbers for name, numbers in found.items() if name not in schema.names}
