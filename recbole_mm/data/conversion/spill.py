"""The interactions of a source on disk, their ids as numbers, so that no more than a chunk is in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from recbole_mm.data.conversion.cells import id_texts, number_texts, sortable, time_texts
from recbole_mm.data.conversion.layout import SPLITS, Interactions

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = ("user", "item", "rating", "timestamp", "split")


class IdCodes:
    """Numbers for ids, in the order in which they come."""

    def __init__(self) -> None:
        self.codes: dict[str, int] = {}

    def encode(self, ids: pa.Array) -> np.ndarray:
        """int32 `[n]`; ids that are new get the next numbers."""
        encoded = ids.dictionary_encode()
        codes = self.codes
        known = [codes.setdefault(value, len(codes)) for value in encoded.dictionary.to_pylist()]
        numbers: np.ndarray = np.array(known, dtype=np.int32)[encoded.indices.to_numpy()]
        return numbers

    def __len__(self) -> int:
        return len(self.codes)


class Spill:
    """Interactions in an Arrow file of a folder, written once, read any number of times.

    Attributes:
        users, items: the numbers of the ids.
        rows: interactions.
        has_ratings, has_times: whether every interaction has one.
        partly: columns that a part of the source lacks, and that are left out therefore.
        dates: whether times were dates, written as seconds.
        splits: names of the splits that the source gives, if it is split.
    """

    def __init__(self, folder: Path):
        import pyarrow as pa

        self.path = folder / "interactions.arrow"
        self.users, self.items = IdCodes(), IdCodes()
        self.rows = 0
        self.dates = False
        self._with = dict.fromkeys(("rating", "timestamp", "split"), 0)
        self._seen_splits: set[str] = set()
        kinds = (pa.int32(), pa.int32(), pa.string(), pa.string(), pa.int8())
        self._schema = pa.schema(list(zip(COLUMNS, kinds, strict=True)))
        self._writer = pa.ipc.new_file(str(self.path), self._schema)

    def add(self, chunk: Interactions) -> None:
        """Write a chunk; raises ValueError naming file and line where an id or a number is bad."""
        import pyarrow as pa

        if not len(chunk.users):
            return
        users = id_texts(chunk.users, "user id", chunk.place)
        items = id_texts(chunk.items, "item id", chunk.place)
        n_rows = len(users)
        ratings = times = split = None
        if chunk.ratings is not None:
            ratings = number_texts(chunk.ratings, "rating", chunk.place)
        if chunk.timestamps is not None:
            times, dates = time_texts(chunk.timestamps, chunk.place)
            self.dates |= dates
        if chunk.split is not None:
            split = pa.array(np.full(n_rows, SPLITS.index(chunk.split), dtype=np.int8))
            self._seen_splits.add(chunk.split)
        for name, column in (("rating", ratings), ("timestamp", times), ("split", split)):
            self._with[name] += n_rows if column is not None else 0
        columns = [pa.array(self.users.encode(users)), pa.array(self.items.encode(items))]
        columns += [
            pa.nulls(n_rows, field.type) if column is None else column
            for column, field in zip((ratings, times, split), list(self._schema)[2:], strict=True)
        ]
        self._writer.write_batch(pa.record_batch(columns, schema=self._schema))
        self.rows += n_rows

    def close(self) -> None:
        """Nothing is added after this."""
        self._writer.close()

    @property
    def has_ratings(self) -> bool:
        return 0 < self._with["rating"] == self.rows

    @property
    def has_times(self) -> bool:
        return 0 < self._with["timestamp"] == self.rows

    @property
    def partly(self) -> list[str]:
        return [name for name, n_rows in self._with.items() if 0 < n_rows < self.rows]

    @property
    def splits(self) -> list[str]:
        return [split for split in SPLITS if split in self._seen_splits]

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The chunks as they were added, mapped from the disk."""
        import pyarrow as pa

        with pa.memory_map(str(self.path)) as mapped, pa.ipc.open_file(mapped) as reader:
            for i in range(reader.num_record_batches):
                yield reader.get_batch(i)

    def column(self, name: str) -> np.ndarray:
        """Users, items, ratings, times or splits of all interactions as numbers, `[rows]`."""
        import pyarrow.compute as pc

        if name == "timestamp":
            return sortable([batch.column(name) for batch in self.batches()])
        if name == "rating":
            return np.concatenate([pc.cast(batch.column(name), "float64").to_numpy() for batch in self.batches()])
        return np.concatenate([batch.column(name).to_numpy() for batch in self.batches()])
