"""RecBole's atomic files read by our rules: nothing passed over, every mistake named with its file, line and column."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from recbole.data.dataset import Dataset
from recbole.utils import FeatureSource, FeatureType, set_color

from recbole_mm.host.mend import patch_in_place
from recbole_mm.host.times import exact_numbers
from recbole_mm.io.first_line import column_types
from recbole_mm.io.tables import bad_value, read_table

_ChosenColumn = tuple[str, str, FeatureType]  # its heading in the file, its field and its type
_MISSING = ("", "nan", "na", "null", "none", "n/a")  # numbers that are not there, in small letters
_WITH_IDS = (FeatureSource.INTERACTION, FeatureSource.USER, FeatureSource.ITEM)
_DATE = re.compile(r"\d+[-:/.]\d+[-:/.]\d")
_LARGEST = float(np.finfo(np.float32).max)  # what RecBole makes of all numbers but times


@cache
def apply() -> None:
    """Let every data set read its files so. Called once, at import.

    data/dataset/dataset.py:418: pandas' slowest reader, which takes words such as NA for nothing, a lone quotation mark
    for the beginning of a text that goes on to the next one, and rows of any length.
    """
    patch_in_place(Dataset._load_feat, load_feat)


def load_feat(dataset: Any, filepath: str, source: FeatureSource | str) -> pd.DataFrame | None:
    """The columns of one file that are to be loaded, as RecBole has them; None where that is none.

    Tokens are texts, None where a cell is empty; numbers are float64, NaN where there is none; sequences are arrays.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no atomic file; names file, line and column.
    """
    config, path = dataset.config, Path(filepath)
    load, unload = dataset._get_load_and_unload_col(source)
    if load == set():
        return None
    table = read_table(path, separator=config["field_separator"], encoding=config["encoding"] or "utf-8")
    kinds = column_types(path, list(table.columns), config["field_separator"])
    chosen = [
        (column, field, FeatureType(kind))
        for column, (field, kind) in zip(table.columns, kinds.items(), strict=True)
        if (load is None or field in load) and not (unload and field in unload)
    ]
    if not chosen:
        dataset.logger.warning(f"No columns has been loaded from [{source}]")
        return None
    _check_ids(path, table, chosen, source, config)
    values = {field: _values(path, table[column], field, kind, config) for column, field, kind in chosen}
    _note(dataset, source, chosen, values)
    return pd.DataFrame(values).reset_index(drop=True)


def _check_ids(path: Path, table: pd.DataFrame, chosen: list[_ChosenColumn], source: Any, config: Any) -> None:
    """RecBole leaves rows without an id out without a word, and takes a file without rows as far as it goes."""
    if source not in _WITH_IDS:
        return
    if source == FeatureSource.INTERACTION and table.empty:
        raise ValueError(f"{path} holds no interactions; fill it")
    own = {FeatureSource.USER: "USER_ID_FIELD", FeatureSource.ITEM: "ITEM_ID_FIELD"}.get(source)
    if own is not None:
        _check_one_row_each(path, table, chosen, own, config[own])
    for column, field, kind in chosen:
        if field not in (config["USER_ID_FIELD"], config["ITEM_ID_FIELD"]):
            continue
        if kind != FeatureType.TOKEN:
            raise ValueError(f"{path}, line 1: '{column}' holds ids, which are of type token; write {field}:token")
        missing = table[column].str.strip() == ""
        if missing.any():
            raise ValueError(f"{path}, line {missing.idxmax()}: there is no {field}; correct or delete the line")


def _check_one_row_each(path: Path, table: pd.DataFrame, chosen: list[_ChosenColumn], key: str, field: str) -> None:
    """RecBole takes a file without its ids as far as its first look-up, and the first of several rows of an id."""
    column = next((column for column, name, _ in chosen if name == field), None)
    if column is None:
        there = ", ".join(name for _, name, _ in chosen)
        raise ValueError(
            f"{path}, line 1: there is no column '{field}' of the ids ({key}), but {there}; rename the one that is "
            f"meant, or leave the file out of load_col"
        )
    rows = table[[heading for heading, _, _ in chosen]].drop_duplicates()
    again = rows[column].duplicated()
    if again.any():
        line = again.idxmax()
        first = rows.index[rows[column] == rows[column][line]][0]
        raise ValueError(
            f"{path}, line {line}: {field} '{rows[column][line]}' has another row in line {first}; keep one of them"
        )


# ---------------------------------------------------------------- cells


def _values(path: Path, cells: pd.Series, field: str, kind: FeatureType, config: Any) -> Any:
    if kind == FeatureType.TOKEN:
        return cells.astype(object).where(cells != "", None)
    if kind == FeatureType.FLOAT:
        if field == config["TIME_FIELD"]:
            return _times(path, cells, field, config)
        numbers = _numbers(path, cells, field).astype(np.float64)
        if (numbers.abs() > _LARGEST).any():
            line = (numbers.abs() > _LARGEST).idxmax()
            raise ValueError(
                f"{path}, line {line}, column {field}: '{cells[line]}' is above {_LARGEST:.3g}, the largest number "
                "that models compute with; correct or rescale it"
            )
        return numbers
    parts = [list(filter(None, cell.split(config["seq_separator"]))) for cell in cells]
    if kind == FeatureType.TOKEN_SEQ:
        return _column([np.array(words) for words in parts], cells)
    return _column([_sequence(path, line, words, field) for line, words in zip(cells.index, parts, strict=True)], cells)


def _column(arrays: list[np.ndarray], cells: pd.Series) -> pd.Series:
    column = np.empty(len(arrays), dtype=object)  # pandas would make a table of arrays of one length
    column[:] = arrays
    return pd.Series(column, index=cells.index)


def _times(path: Path, cells: pd.Series, field: str, config: Any) -> pd.Series:
    times = exact_numbers(_numbers(path, cells, field), cells)
    missing = times.isna()
    if missing.any() and config["eval_args"].get("order") == "TO" and not config["benchmark_filename"]:
        raise ValueError(
            f"{path}, line {missing.idxmax()}, column {field}: there is no time, and eval_args: order: TO goes by it; "
            f"fill it in, or leave the line out"
        )
    return times


def _numbers(path: Path, cells: pd.Series, field: str) -> pd.Series:
    """Whole numbers as int64, where there are no others."""
    numbers = pd.to_numeric(cells, errors="coerce")
    wrong = ~np.isfinite(numbers) & ~cells.str.strip().str.lower().isin(_MISSING)
    if wrong.any():
        line = wrong.idxmax()
        raise ValueError(
            f"{path}, line {line}, column {field}: '{cells[line]}' is no finite number; correct it"
            f"{', or write dates as seconds' if _DATE.search(cells[line]) else ''}"
        )
    return numbers


def _sequence(path: Path, line: int, words: list[str], field: str) -> np.ndarray:
    try:
        return np.array(words, dtype=np.float64)
    except ValueError as error:
        raise ValueError(f"{path}, line {line}, column {field}: {bad_value(words)}") from error


def _note(dataset: Any, source: FeatureSource | str, chosen: list[_ChosenColumn], values: dict[str, Any]) -> None:
    """What RecBole keeps of each column: source, type, length of sequences, numbers of buckets."""
    for _, field, kind in chosen:
        if isinstance(source, FeatureSource) or source != "link":
            dataset.field2source[field] = source
            dataset.field2type[field] = kind
            if "float" in kind.value:
                dataset.field2bucketnum[field] = 2
            if not kind.value.endswith("seq"):
                dataset.field2seqlen[field] = 1
        if not kind.value.endswith("seq"):
            continue
        longest = max(map(len, values[field]), default=0)
        limit = (dataset.config["seq_len"] or {}).get(field)
        if limit is not None:
            values[field] = values[field].map(lambda sequence, limit=limit: sequence[:limit])
            longest = min(limit, longest)
        dataset.field2seqlen[field] = longest
    dataset.logger.debug(set_color(f"columns of {source}: ", "pink") + ", ".join(values))
