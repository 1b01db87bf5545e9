"""A data set repository of the Hugging Face hub: Parquet files, in SRC, `SRC/data` or a folder for each subset.

Splits are found as the hub finds them: the words train, validation (valid, val, dev) and test in the names of files
(`train-00000-of-00001.parquet`) or folders. A file with columns that look like user and item holds interactions; one
with an item column alone holds texts of items, and vectors of numbers in it are features. Where there is one split
alone, the data are not split.

Source: huggingface.co/docs/hub/datasets-file-names-and-splits.
"""

from __future__ import annotations

from pathlib import Path

from recbole_mm.data.conversion.delimited import is_delimited
from recbole_mm.data.conversion.table_folder import TableFolder
from recbole_mm.io.reading import has_file
from recbole_mm.registry import register_converter


@register_converter("huggingface", help="Parquet files of a Hugging Face data set: train-00000-of-00001.parquet")
class HuggingFaceConverter(TableFolder):
    """See the module."""

    @classmethod
    def tables(cls, source: Path) -> list[Path]:
        """The Parquet files of the folder and the folders in it, and tables of text beside them."""
        named = sorted(source.rglob("*.parquet")) if source.is_dir() else []
        beside = sorted(path for path in source.iterdir() if is_delimited(path)) if named else []
        return [path for path in [*named, *beside] if not path.is_dir() and has_file(path)]

    @classmethod
    def is_own(cls, path: Path) -> bool:
        """Parquet files."""
        return path.suffix == ".parquet"
