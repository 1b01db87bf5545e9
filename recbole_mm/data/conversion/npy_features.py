"""Feature arrays beside the interactions: one array with a row for each item, or one file for each item."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from recbole_mm.data.conversion.layout import Features
from recbole_mm.data.feature_table import check_shape, row_blocks
from recbole_mm.data.modality_name import modality_of, names_modality
from recbole_mm.data.npy import load_npy
from recbole_mm.io.counting import counted
from recbole_mm.io.reading import has_file

# by modality, in the names that the field's repositories use
ARRAY_NAMES = {
    "visual": ("image_feat.npy", "visual.npy"),
    "textual": ("text_feat.npy", "text.npy"),
    "acoustic": ("audio_feat.npy", "audio.npy"),
}
FILES_A_BLOCK = 1024


def find_arrays(folder: Path) -> dict[str, Path]:
    """The feature arrays of a folder by modality: those of the usual names, and others such as `audio_whisper.npy`.

    Raises:
        ValueError: two files are of one modality; a name is there and is no file.
    """
    usual = {name: modality for modality, names in ARRAY_NAMES.items() for name in names}
    others = {path.name: modality_of(path.stem) for path in sorted(folder.glob("*.npy")) if names_modality(path.stem)}
    found: dict[str, Path] = {}
    for name, modality in {**usual, **others, **usual}.items():
        path = folder / name
        if not has_file(path):
            continue
        if modality in found:
            raise ValueError(f"{found[modality]} and {path} both give the {modality} modality; keep one of them")
        found[modality] = path
    return found


def array_features(modality: str, path: Path, ids: Sequence[str] | None = None) -> Features:
    """The rows of an array.

    Args:
        ids: of the items of the rows; the numbers of the rows where not given.

    Raises:
        FileNotFoundError, ValueError: see `load_npy`; it is no table of numbers; there is not one id for each row.
    """
    values = load_npy(path)
    check_shape(values, path)
    if ids is not None and len(ids) != len(values):
        rows, id_count = counted(len(values), "row"), counted(len(ids), "item id")
        raise ValueError(f"{path}: {rows} of features for {id_count}; there must be one each")

    def blocks() -> Iterator[tuple[list[str], np.ndarray]]:
        for start, block in row_blocks(values):
            rows = range(start, start + len(block))
            yield ([str(row) for row in rows] if ids is None else list(ids[start : start + len(block)])), block

    return Features(modality, path, blocks)


def folder_features(modality: str, folder: Path) -> Features:
    """One `.npy` file for each item, named by its id: `[width]` or `[1, width]`."""

    def blocks() -> Iterator[tuple[list[str], np.ndarray]]:
        paths = sorted(folder.glob("*.npy"))
        for start in range(0, len(paths), FILES_A_BLOCK):
            block = paths[start : start + FILES_A_BLOCK]
            yield [path.stem for path in block], np.stack(_rows(block))

    return Features(modality, folder, blocks)


def _rows(paths: list[Path]) -> list[np.ndarray]:
    rows: list[np.ndarray] = []
    for path in paths:
        row = load_npy(path)
        if row.ndim not in (1, 2) or row.size != row.shape[-1] or row.dtype.kind not in "fiu" or not row.size:
            raise ValueError(
                f"{path}: expected the features of one item [width], this is {row.dtype} {list(row.shape)}"
            )
        row = np.array(row).reshape(-1)
        if rows and (len(row) != len(rows[0]) or row.dtype != rows[0].dtype):
            raise ValueError(
                f"{path}: {len(row)} {row.dtype} values where {paths[0].name} has {len(rows[0])} {rows[0].dtype}; "
                "all items need the same"
            )
        rows.append(row)
    return rows


def check_rows(arrays: dict[str, Path], n_items: int, source: Path) -> None:
    """Raise ValueError where an array has no row for an item, whose id is the number of its row."""
    for path in arrays.values():
        n_rows = len(load_npy(path))
        if n_rows < n_items:
            raise ValueError(
                f"{source}: item {n_items - 1} has no row in {path}, which holds {n_rows} rows (the first is item 0); "
                "are these features of other data?"
            )
