"""The `.item` file and the feature files of a data set that is being converted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from recbole_mm.data.arrow_form import write_arrow
from recbole_mm.data.conversion.atomic_table import one_line_cells, write_header, write_rows
from recbole_mm.data.conversion.cells import id_texts
from recbole_mm.data.conversion.layout import Converter, Features, Items, each
from recbole_mm.data.conversion.notes import nearly_same, note_of_near, odd_ones
from recbole_mm.data.conversion.progress import progress
from recbole_mm.data.conversion.report import ModalityCounts, Report
from recbole_mm.data.feature_table import check_shape, checked_features
from recbole_mm.data.modality_name import check_modality_name
from recbole_mm.io.counting import counted

if TYPE_CHECKING:
    import pyarrow as pa


class ItemIds:
    """Which items are in the data set.

    Args:
        codes: number of each id of the interactions.
        kept: bool `[n_items]`, by number.
        keeps_unused: whether ids without interactions are in it too.
    """

    def __init__(self, codes: dict[str, int], kept: np.ndarray, keeps_unused: bool):
        self.codes, self.kept, self.keeps_unused = codes, kept, keeps_unused

    def has(self, item: str) -> bool:
        code = self.codes.get(item)
        return self.keeps_unused if code is None else bool(self.kept[code])

    def check_any(self, known: bool, source: Path, n_rows: int, first: str) -> None:
        """Raise ValueError where no row of a source is of an item of the interactions; `first` is its first id."""
        if not known and n_rows:
            raise ValueError(
                f"{source}: none of its {n_rows:,} rows (first: {first!r}) is of an item of the interactions (first: "
                f"{next(iter(self.codes))!r}); write ids alike in all files"
            )


class _MetIds:
    """The ids of the rows of items: whether one is of the interactions, how many, the first, and near misses."""

    def __init__(self, ids: ItemIds):
        self._codes, self._odd = ids.codes, odd_ones(ids.codes)
        self.any_known, self.n_rows, self.first = False, 0, ""
        self.near: list[str] = []

    def add(self, items: list[str]) -> None:
        strangers = [item for item in dict.fromkeys(items) if item not in self._codes]
        self.any_known = self.any_known or any(item in self._codes for item in items)
        self.near += nearly_same(strangers, self._codes, self._odd)
        self.first = self.first if self.n_rows or not items else items[0]
        self.n_rows += len(items)


def write_items(converter: Converter, path: Path, ids: ItemIds, report: Report) -> None:
    """Write the texts of the items that are kept, the first row of each; no file where the source has no texts.

    Raises:
        ValueError: an id is bad, or parts of the source have other fields; names file and line.
    """
    written: set[str] = set()
    repeated = broken = 0
    fields: list[str] | None = None
    met = _MetIds(ids)
    with path.open("wb") as file:
        for chunk in progress(each(converter, "items", Items), "items"):
            items = id_texts(chunk.ids, "item id", chunk.place)
            report.sources.add(chunk.source)
            met.add(items.to_pylist())
            if fields is None:
                fields = list(chunk.fields)
                write_header(file, ["item_id:token", *(_typed(field) for field in fields)])
            elif list(chunk.fields) != fields:
                there = f"{', '.join(chunk.fields)}, others {', '.join(fields)}"
                raise ValueError(f"{chunk.source} has the fields {there}; join them to one table, and give --items")
            n_repeated, n_broken = _write_chunk(file, chunk, items, fields, ids, written)
            repeated, broken = repeated + n_repeated, broken + n_broken
    if fields is None:
        path.unlink()
        return
    report.notes += note_of_near(met.near, f"{chunk.source.name}: item")
    ids.check_any(met.any_known, chunk.source, met.n_rows, met.first)
    report.texts = sum(ids.kept[ids.codes[item]] for item in written if item in ids.codes)
    report.fields = [field.partition(":")[0] for field in fields]
    if repeated:
        report.notes.append(f"{counted(repeated, 'later row was', 'later rows were')} left out of the .item file")
    if broken:
        report.notes.append(f"{counted(broken, 'text')} had tabs or line ends, which became blanks")


def _write_chunk(
    file: BinaryIO, chunk: Items, items: pa.Array, fields: list[str], ids: ItemIds, written: set[str]
) -> tuple[int, int]:
    import pyarrow as pa

    rows, repeated = [], 0
    for row, item in enumerate(items.to_pylist()):
        if item in written:
            repeated += 1
        elif ids.has(item):
            written.add(item)
            rows.append(row)
    broken = 0
    columns = [items.take(pa.array(rows, pa.int64()))]
    for field in fields:
        texts = chunk.fields[field]
        cells, n_broken = one_line_cells([texts[row] for row in rows])
        columns.append(cells)
        broken += n_broken
    write_rows(file, columns)
    return repeated, broken


def _typed(field: str) -> str:
    return field if ":" in field else f"{field}:token_seq"


def write_features(features: Features, path: Path, ids: ItemIds, folder: Path, root: Path) -> ModalityCounts:
    """Write the rows of the items that are kept, bit for bit (float64 becomes float32), a block at a time.

    Args:
        root: of the source, below which the summary names files; `folder` holds what is written on the way.

    Raises:
        ValueError: the modality's name is none; no row is of an item of the data set; see `checked_features`.
    """
    check_modality_name(features.modality)
    kept: list[str] = []
    n_rows, width, first = 0, 0, ""
    dtype: np.dtype[Any] = np.dtype(np.float32)
    spool = folder / f"{features.modality}.values"
    with spool.open("wb") as file:
        for item_ids, values in progress(features.blocks(), features.modality):
            check_shape(values, features.source)
            if not width:
                width = values.shape[1]
                dtype = np.dtype(np.float16 if values.dtype == np.float16 else np.float32)
            if values.shape[1] != width:
                raise ValueError(f"{features.source}: rows of {width} and of {values.shape[1]} values; they must agree")
            chosen = [row for row, item in enumerate(item_ids) if ids.has(item)]
            kept += [item_ids[row] for row in chosen]
            block = values if len(chosen) == len(item_ids) else values[chosen]
            with np.errstate(over="ignore"):
                np.ascontiguousarray(block, dtype=dtype).tofile(file)
            first = first if n_rows else item_ids[0]
            n_rows += len(item_ids)
    if not n_rows:
        raise ValueError(f"{features.source} holds no features; fill it, or take it away")
    ids.check_any(bool(kept), features.source, n_rows, first)
    spooled = np.memmap(spool, dtype, "r", shape=(len(kept), width))
    item_ids, rows = checked_features(kept, spooled, features.source)
    write_arrow(path, item_ids, rows, source=features.source.name)
    spool.unlink()
    present = sum(ids.kept[ids.codes[item]] for item in item_ids if item in ids.codes)
    missing = int(ids.kept.sum()) - int(present)
    shown = _shown(features.source, root)
    return ModalityCounts(features.modality, shown, n_rows, len(item_ids), width, str(dtype), missing)


def _shown(source: Path, root: Path) -> str:
    return str(source.relative_to(root)) if root in source.parents else source.name
