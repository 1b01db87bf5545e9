"""The layouts that `convert` knows: a module each, found by being here, entered by `register_converter`."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import cast

from recbole_mm.data.conversion.layout import Converter
from recbole_mm.data.conversion.tables import columns_of, is_table, open_table
from recbole_mm.io.reading import regular_file
from recbole_mm.parts import discover
from recbole_mm.registry import CONVERTERS

ARCHIVES = (".zip", ".7z", ".rar", ".tar", ".tgz", ".bz2", ".xz", ".zst")
OTHER_TABLES = (
    ".xlsx", ".xls", ".ods", ".feather", ".arrow", ".orc", ".xml", ".sql", ".db", ".sqlite", ".mat", ".h5", ".hdf5",
    ".rds", ".rdata", ".sas7bdat", ".dta", ".sav",
)  # fmt: skip
PICKLES = (".pkl", ".pickle", ".npy", ".npz", ".pt", ".pth", ".joblib")


def load() -> None:
    """Import every layout, so that it is in the registry."""
    discover(sys.modules[__name__])


def converter_of(layout: str) -> type[Converter]:
    """The converter registered for a layout; raises ValueError listing the known ones."""
    return cast("type[Converter]", CONVERTERS.get(layout))


def recognise(source: Path) -> dict[str, str]:
    """What each layout that recognises a source sees in it, by name; without generic ones where another does.

    Raises:
        ValueError: none but generic ones do, and a name of a layout is there and is no file.
    """
    load()
    seen: dict[str, str | None] = {}
    refused = []
    for name in CONVERTERS:
        try:
            seen[name] = converter_of(name).recognise(source)
        except ValueError as error:
            refused.append(error)
    found = {name: what for name, what in seen.items() if what is not None}
    own = {name: what for name, what in found.items() if not converter_of(name).generic}
    if refused and not own:
        raise refused[0]
    return own or found


def find_layout(source: Path) -> tuple[str, str]:
    """The layout of a source, and what was seen of it.

    Raises:
        FileNotFoundError: there is nothing.
        OSError: it is neither a file nor a folder.
        ValueError: no layout recognises it, or several do; a name of a layout is there and is no file.
    """
    if not source.exists():
        raise FileNotFoundError(f"there is no file or folder {source}; give what is to be converted")
    if not source.is_dir():
        regular_file(source)
    found = recognise(source)
    if len(found) == 1:
        return next(iter(found.items()))
    if found:
        shown = "; ".join(f"{name} ({what})" for name, what in found.items())
        raise ValueError(f"{source} may be of several layouts: {shown}. Say which: convert LAYOUT {source}")
    atomic = source.is_dir() and any(source.glob("*.inter"))
    if atomic:
        raise ValueError(
            f"{source} is a data set of RecBole's already, or a part of one: python -m recbole_mm describe {source}"
        )
    if source.is_file():
        _check_file(source)
    there = sorted(path.name for path in source.iterdir())[:8] if source.is_dir() else [source.name]
    raise ValueError(
        f"{source} is in no layout that can be converted: it holds {', '.join(there) or 'nothing'}; layouts: "
        f"{', '.join(CONVERTERS)}. Of a table give the file itself, and name its columns: convert auto "
        f"{source if source.is_file() else source / 'FILE'} --user COLUMN --item COLUMN"
    )


def _check_file(source: Path) -> None:
    """Raise ValueError that says of one file why it is no table of interactions."""
    if source.suffix.lower() in ARCHIVES:
        raise ValueError(f"{source} is an archive; unpack it, and give the folder")
    if source.suffix.lower() in OTHER_TABLES:
        raise ValueError(f"{source} is in no layout that can be converted; save the table as CSV, in UTF-8, or Parquet")
    if source.suffix.lower() in PICKLES:
        raise ValueError(
            f"{source} is no table; load it where you trust it, and save a row for each interaction as CSV or Parquet"
        )
    if is_table(source):
        open_table(source)  # says of an empty or damaged one what it is
        columns = columns_of(source)
        raise ValueError(
            f"{source}, line 1: no column looks like the user and the item; found {', '.join(columns)[:200]}: "
            f"{_remedy(columns)}"
        )


def _remedy(first: list[str]) -> str:
    """What to do about a first line in which no column is known."""
    if len(first) != 1:
        return (
            "say which they are with --user COLUMN --item COLUMN, of a file without a header by their places, such as "
            "--user 1 --item 2"
        )
    if re.fullmatch(r"\d+:", first[0]):
        return "in Netflix's form a line is not an interaction; write lines of user,item,rating,date"
    return "separate the columns by commas, semicolons or tabs"


def check_layout(layout: str, source: Path) -> type[Converter]:
    """The converter of a layout; raises ValueError where the source is of another layout, which it names."""
    load()
    converter = converter_of(layout)
    if source.exists() and converter.recognise(source) is None:
        others = recognise(source)
        if others:
            shown = "; ".join(f"{name} ({what})" for name, what in others.items())
            raise ValueError(
                f"{source} is not in the layout {layout}, but looks like the layout {shown}: type convert auto {source}"
            )
    return converter
