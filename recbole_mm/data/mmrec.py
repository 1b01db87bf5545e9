"""MMRec's layout (one `.inter` with x_label, one array per modality) into pre-split atomic files."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from recbole_mm.data.arrow_form import write_arrow
from recbole_mm.data.feature_table import checked_features
from recbole_mm.data.npy import load_npy, read_ids
from recbole_mm.io.errors import one_line
from recbole_mm.io.files import (
    check_folder_writable,
    is_occupied,
    publish_folder,
    publish_new_folder,
    temporary_folder,
)
from recbole_mm.io.reading import open_regular

if TYPE_CHECKING:
    import pandas as pd

SPLITS = ("train", "valid", "test")
FEATURE_FILES = {
    "visual": ("image_feat.npy", "visual.npy"),
    "textual": ("text_feat.npy", "text.npy"),
    "acoustic": ("audio_feat.npy", "audio.npy"),
}
ITEM_IDS = "item_ids.txt"
FIELDS = {"userID": "user_id", "itemID": "item_id"}
REQUIRED = ("user_id", "item_id", "x_label")
TYPES = {"user_id": "token", "item_id": "token", "rating": "float", "timestamp": "float"}


def convert_mmrec(source: Path, name: str, out: Path, *, overwrite: bool = False) -> Path:
    """Make a RecBole data set of MMRec's layout, its split kept; returns the folder `out/name`.

    Reads `source/name.inter` (userID or user_id, itemID or item_id, x_label 0/1/2 = train/valid/test, and
    optionally rating and timestamp; tab separated, in any order, with or without RecBole's types; other
    columns are left out) and the feature arrays: image_feat.npy or visual.npy, text_feat.npy or text.npy,
    audio_feat.npy or audio.npy. Their row is the itemID, unless item_ids.txt gives the item id of each row.

    Writes `name.train.inter`, `name.valid.inter`, `name.test.inter`, `name.<modality>.arrow`, and `name.yaml`
    with the settings to pass to `--config_files`. The folder appears when it is complete.

    Raises:
        FileNotFoundError: the interactions or all feature files are missing.
        ValueError: the target is not empty (and not to be overwritten) or holds the source; a column is
            missing; a cell is empty or no number; a label is unknown; a split is empty; an itemID is beyond
            the feature rows; the features are bad (see `checked_features`).
    """
    target = out / name
    _check_target(source, name, target, overwrite)
    check_folder_writable(out)
    path = source / f"{name}.inter"
    interactions = _read_interactions(path)
    ids_file = source / ITEM_IDS
    ids = read_ids(ids_file) if ids_file.is_file() else None
    features = {modality: (file, load_npy(file)) for modality, file in _feature_files(source).items()}
    if ids is None:
        interactions["item_id"] = _row_numbers(path, interactions, features)
    with temporary_folder(target) as folder:
        _write_splits(path, interactions, folder, name)
        for modality, (file, values) in features.items():
            item_ids = [str(row) for row in range(len(values))] if ids is None else ids
            item_ids, values = checked_features(item_ids, values, file)
            write_arrow(folder / f"{name}.{modality}.arrow", item_ids, values, source=file.name)
        (folder / f"{name}.yaml").write_text(_settings(name, list(features)), encoding="utf-8")
        (publish_folder if overwrite else publish_new_folder)(folder, target)
    return target


def _check_target(source: Path, name: str, target: Path, overwrite: bool) -> None:
    if Path(name).name != name:
        raise ValueError(
            f"{name!r} cannot name a data set; give a plain name, and the folder that will hold it as out"
        )
    if not source.is_dir():
        raise FileNotFoundError(f"there is no folder {source}; give the folder that holds {name}.inter")
    if source.resolve().is_relative_to(target.resolve()):
        raise ValueError(f"{target} is the source, or holds it; choose another folder to write to")
    if is_occupied(target) and not overwrite:
        raise ValueError(
            f"{target} is not empty; choose another name or folder, or pass --overwrite to replace it"
        )


def _feature_files(source: Path) -> dict[str, Path]:
    found = {}
    for modality, names in FEATURE_FILES.items():
        there = [source / name for name in names if (source / name).is_file()]
        if len(there) > 1:
            raise ValueError(f"{there[0]} and {there[1]} both give the {modality} modality; keep one of them")
        if there:
            found[modality] = there[0]
    if not found:
        names = ", ".join(name for names in FEATURE_FILES.values() for name in names)
        raise FileNotFoundError(f"there is no feature file in {source}; expected at least one of {names}")
    return found


def _read_interactions(path: Path) -> pd.DataFrame:
    """The known columns as text, x_label as a number; the index is the line number."""
    import pandas as pd

    if not path.exists():
        there = ", ".join(sorted(file.name for file in path.parent.glob("*.inter"))) or "no .inter file"
        raise FileNotFoundError(f"there is no file {path}; the folder holds {there}")
    try:
        with open_regular(path) as file:
            table = pd.read_csv(
                file, sep="\t", dtype=str, keep_default_na=False, quoting=csv.QUOTE_NONE, skip_blank_lines=False
            )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no tab-separated table ({one_line(error)}); correct it") from error
    names = [column.partition(":")[0] for column in table.columns]
    table.columns = [FIELDS.get(name, name) for name in names]
    _check_columns(path, table)
    table = table[[column for column in (*TYPES, "x_label") if column in table]]
    table.index = pd.RangeIndex(2, len(table) + 2)
    table = table[~table.isin(["", np.nan]).all(axis=1)]
    _check_cells(path, table)
    return table.assign(x_label=_labels(path, table["x_label"]))


def _check_columns(path: Path, table: pd.DataFrame) -> None:
    import pandas as pd

    missing = [column for column in REQUIRED if column not in table]
    if missing:
        raise ValueError(
            f"{path}, line 1: there is no column {', '.join(missing)}; found {', '.join(table.columns)}. "
            "Expected are userID (or user_id), itemID (or item_id) and x_label, separated by tabs"
        )
    if table.columns.has_duplicates or not isinstance(table.index, pd.RangeIndex):
        raise ValueError(
            f"{path}, line 1: a column is named twice, or the lines have more cells than the header"
        )


def _check_cells(path: Path, table: pd.DataFrame) -> None:
    import pandas as pd

    for column in table:
        cells = table[column]
        bad = cells.isna() | (cells == "")
        if column not in ("user_id", "item_id"):
            bad |= pd.to_numeric(cells, errors="coerce").isna()
        if bad.any():
            line = bad.idxmax()
            what = (
                "is empty"
                if pd.isna(cells[line]) or not cells[line]
                else f"is {cells[line]!r}, which is no number"
            )
            raise ValueError(f"{path}, line {line}: {column} {what}; correct it")


def _labels(path: Path, cells: pd.Series) -> pd.Series:
    import pandas as pd

    labels = pd.to_numeric(cells)
    unknown = ~labels.isin(range(len(SPLITS)))
    if unknown.any():
        line = unknown.idxmax()
        raise ValueError(
            f"{path}, line {line}: x_label is {cells[line]}; it must be 0 (train), 1 (valid) or 2 (test)"
        )
    return labels


def _row_numbers(path: Path, table: pd.DataFrame, features: dict[str, tuple[Path, np.ndarray]]) -> pd.Series:
    """The itemIDs, each of which is a row of every feature array, as the text of the number."""
    cells = table["item_id"]
    bad = ~cells.str.fullmatch("[0-9]{1,18}")
    if bad.any():
        line = bad.idxmax()
        raise ValueError(
            f"{path}, line {line}: the item id {cells[line]!r} is no row number; "
            f"give the id of each feature row in {path.parent / ITEM_IDS}, one a line"
        )
    numbers = cells.astype(np.int64)
    for file, values in features.values():
        beyond = numbers >= len(values)
        if beyond.any():
            line = beyond.idxmax()
            raise ValueError(
                f"{path}, line {line}: item {numbers[line]} has no row in {file}, which holds {len(values)} "
                "rows (the first is item 0); add the rows, or drop the interactions"
            )
    return numbers.astype(str)


def _write_splits(path: Path, table: pd.DataFrame, folder: Path, name: str) -> None:
    columns = [column for column in TYPES if column in table]
    header = [f"{column}:{TYPES[column]}" for column in columns]
    for label, split in enumerate(SPLITS):
        rows = table.loc[table["x_label"] == label, columns]
        if rows.empty:
            raise ValueError(
                f"{path}: the {split} split is empty, no line has x_label {label}; split the data again"
            )
        rows.to_csv(
            folder / f"{name}.{split}.inter",
            sep="\t",
            header=header,
            index=False,
            quoting=csv.QUOTE_NONE,
            lineterminator="\n",
        )


def _settings(name: str, modalities: list[str]) -> str:
    return (
        f"# RecBole settings of {name}: pass this file to --config_files.\n"
        f"benchmark_filename: [{', '.join(SPLITS)}]\n"
        "load_col:\n"
        "  inter: [user_id, item_id]\n"
        f"modalities: [{', '.join(modalities)}]\n"
    )
