"""Features that stand in the `.item` file: each column of vectors (`float_seq`) is a modality of its name."""

from __future__ import annotations

from pathlib import Path

from recbole_mm.data.feature_table import FeatureTable
from recbole_mm.data.file_form import FileForm
from recbole_mm.data.text_form import numbered_table, parse_vectors
from recbole_mm.io.reading import has_file
from recbole_mm.io.tables import header_of, read_table

VECTORS = ":float_seq"


def item_vectors(folder: Path, dataset: str, form: FileForm) -> dict[str, Path]:
    """Names of the columns of vectors in a data set's `.item`, and the file; nothing where there is none."""
    file = folder / f"{dataset}.item"
    if not has_file(file) or not file.stat().st_size:
        return {}
    columns = header_of(file, form.separator, form.encoding)
    return {column.removesuffix(VECTORS): file for column in columns if column.endswith(VECTORS)}


def read_item_vectors(
    file: Path, column: str, form: FileForm, *, allow_non_finite: bool = False
) -> FeatureTable:
    """The vectors of one column as float32; an item whose cell is empty has none.

    Raises:
        ValueError: as :func:`recbole_mm.data.text_form.read_text`, and for a file without ids or without vectors.
    """
    names = [f"{form.item_field}:token", column + VECTORS]
    table = read_table(file, names, separator=form.separator, encoding=form.encoding)
    table = table[table[names[1]].str.strip(form.seq_separator) != ""]
    if table.empty:
        raise ValueError(f"{file}: the column {column} is empty; fill it, or set modalities to others")
    lines, ids, vectors = list(table.index), table[names[0]].tolist(), table[names[1]].tolist()
    return numbered_table(file, lines, ids, parse_vectors(file, lines, vectors, form.seq_separator), allow_non_finite)
