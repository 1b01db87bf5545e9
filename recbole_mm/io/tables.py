"""Reading atomic files and their like as tables of texts."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING

from recbole_mm.io.errors import one_line
from recbole_mm.io.reading import open_regular

if TYPE_CHECKING:
    import pandas as pd


def read_table(
    path: str | os.PathLike[str], columns: list[str] | None = None, *, separator: str = "\t", encoding: str = "utf-8"
) -> pd.DataFrame:
    """All cells as texts; those that a short row lacks are empty.

    Args:
        columns: the ones to read; None for all.

    Raises:
        OSError: it is no regular file, or cannot be read.
        ValueError: it is no table with these columns; names the file.
    """
    import pandas as pd

    try:
        with open_regular(path) as file, warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # of a row that is longer than the header
            form = {"sep": separator, "encoding": encoding, "index_col": False}
            table = pd.read_csv(file, usecols=columns, dtype=str, keep_default_na=False, **form)
    except (ValueError, LookupError, pd.errors.ParserWarning) as error:
        separated = "tab-separated table" if separator == "\t" else f"table separated by {separator!r}"
        wanted = f" with the columns {', '.join(columns)}" if columns else ""
        raise ValueError(f"{path} cannot be read as a {separated}{wanted} ({one_line(error)}); correct it") from error
    return table.fillna("")
