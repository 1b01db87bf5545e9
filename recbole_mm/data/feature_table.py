"""The features of one modality in memory, and the checks that both file forms share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from recbole_mm.io.counting import counted

BLOCK_VALUES = 1 << 20


def _nothing() -> None:
    pass


@dataclass(frozen=True, eq=False)
class FeatureTable:
    """Feature vectors of items, as one file holds them.

    Attributes:
        ids: item ids as in the interactions, each once, `[n_rows]`.
        values: float32 or float16 `[n_rows, width]`; a read-only view on the memory map for the Arrow form.
        path: the file that was read.
        metadata: what the Arrow form carries beside the values (encoder, source, hash of its text form).
        release: gives memory that holds mapped pages of `values` back to the system; they stay readable.
    """

    ids: list[str]
    values: np.ndarray
    path: Path
    metadata: dict[str, str] = field(default_factory=dict)
    release: Callable[[], None] = field(default=_nothing, repr=False)

    @property
    def encoder(self) -> str | None:
        """What computed the vectors, where the file says so."""
        return self.metadata.get("encoder")

    @property
    def source(self) -> str | None:
        """What the vectors were computed or converted from, where the file says so."""
        return self.metadata.get("source")

    def copy_into(self, out: np.ndarray, positions: np.ndarray, rows: np.ndarray) -> None:
        """Set `out[positions[i]] = values[rows[i]]`, in blocks, so that the file is not held beside `out`."""
        step = max(1, BLOCK_VALUES // self.values.shape[1])
        for start in range(0, len(rows), step):
            out[positions[start : start + step]] = self.values[rows[start : start + step]]
            self.release()


def row_blocks(values: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (first row, rows) of about a million values each."""
    step = max(1, BLOCK_VALUES // values.shape[1])
    for start in range(0, len(values), step):
        yield start, values[start : start + step]


def first_non_finite(values: np.ndarray, release: Callable[[], None] = _nothing) -> int | None:
    """The first row that holds a NaN or an infinity, or None."""
    for start, block in row_blocks(values):
        finite = np.isfinite(block)
        if not finite.all():
            return start + int(np.argmin(finite.all(axis=1)))
        release()
    return None


def collapse_duplicates(
    ids: list[str], values: np.ndarray, path: Path, place: Callable[[int], str]
) -> tuple[list[str], np.ndarray]:
    """Keep one of several equal rows of an item.

    Args:
        place: says where row i stands in the file, for the message.

    Raises:
        ValueError: an item has two different rows.
    """
    if len(set(ids)) == len(ids):
        return ids, values
    first: dict[str, int] = {}
    for row, item in enumerate(ids):
        seen = first.setdefault(item, row)
        if not np.array_equal(values[seen], values[row], equal_nan=True):
            raise ValueError(
                f"{path}: item {item!r} has different features in {place(seen)} and {place(row)}; "
                "keep one of them"
            )
    keep = list(first.values())
    return list(first), values[keep]


def check_shape(values: np.ndarray, path: Path) -> None:
    """Raise ValueError naming `path` where the values are no table of numbers `[n_rows, width]`, or it is empty."""
    if values.ndim != 2 or values.dtype.kind not in "fiu" or 0 in values.shape:
        raise ValueError(
            f"{path}: features must be a table of numbers [items, width], "
            f"this is {values.dtype} {list(values.shape)}"
        )


def checked_features(ids: Sequence[str], values: np.ndarray, path: Path) -> tuple[list[str], np.ndarray]:
    """Ids and values ready to be written: float32 (or float16, if given so), finite, one row for each item.

    Args:
        path: the file that the features come from or go to, for the messages.

    Raises:
        ValueError: not numbers, not `[n_rows, width]`, lengths that differ, an id that no file can hold, a
            value that is not finite in its type, an item with two different rows.
    """
    check_shape(values, path)
    if len(ids) != len(values):
        rows, id_count = counted(len(values), "row"), counted(len(ids), "item id")
        raise ValueError(f"{path}: {rows} of features for {id_count}; there must be one each")
    ids = [str(item) for item in ids]
    for row, item in enumerate(ids):
        if not item or any(separator in item for separator in "\t\r\n"):
            raise ValueError(
                f"{path}: the item id of row {row} is {item!r}; ids are not empty and have no tab or line end"
            )
    values = _as_float(values)
    bad = first_non_finite(values)
    if bad is not None:
        raise ValueError(
            f"{path}: row {bad} (item {ids[bad]!r}) holds a value that is not finite as {values.dtype}; "
            "correct it, or leave the item out"
        )
    return collapse_duplicates(ids, values, path, lambda row: f"row {row}")


def _as_float(values: np.ndarray) -> np.ndarray:
    half = values.dtype.kind == "f" and values.dtype.itemsize == 2
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(values, dtype=np.float16 if half else np.float32)
