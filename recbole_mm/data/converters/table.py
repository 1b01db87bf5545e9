"""Plain tables: CSV, TSV or Parquet files, or files with a JSON object a line, with any column names.

SRC is the file of interactions, or a folder with one (or one for each split: `train.csv`, `valid.csv`, `test.csv`), and
tables of items beside it. `--user`, `--item`, `--rating` and `--time` name the columns; those that are not named are
guessed by their names and shown. `--items FILE` gives the table of items, whose other columns become texts.

Source: RFC 4180 for CSV; pandas' `to_csv` for quotation marks in files separated by tabs.
"""

from __future__ import annotations

from pathlib import Path

from recbole_mm.data.conversion.columns import looks_like_header
from recbole_mm.data.conversion.delimited import header_of, is_delimited
from recbole_mm.data.conversion.json_table import is_json_table
from recbole_mm.data.conversion.table_folder import TableFolder
from recbole_mm.data.conversion.tables import is_table
from recbole_mm.io.reading import has_file
from recbole_mm.registry import register_converter


@register_converter(
    "table", help="CSV, TSV, JSON lines or Parquet with any column names: --user, --item, --rating, --time"
)
class TableConverter(TableFolder):
    """See the module."""

    @classmethod
    def tables(cls, source: Path) -> list[Path]:
        """The file, or the tables of the folder."""
        if source.is_dir():
            named = sorted(path for path in source.iterdir() if is_table(path))
            text = [path for path in named if is_delimited(path) or is_json_table(path) or not path.is_dir()]
            return [path for path in text if has_file(path)]
        return [source] if is_table(source) else []

    @classmethod
    def is_own(cls, path: Path) -> bool:
        """Texts; Parquet files of a folder are the layout `huggingface`."""
        return is_delimited(path) or is_json_table(path)

    @classmethod
    def recognise(cls, source: Path) -> str | None:
        """Columns that look like user and item, or a file without a header whose columns go by position."""
        seen = super().recognise(source)
        if seen is not None or source.is_dir() or not is_delimited(source):
            return seen
        cells = header_of(source)
        by_position = 2 <= len(cells) <= 4 and not looks_like_header(cells)
        return f"{source.name} without a header, {len(cells)} columns" if by_position else None
