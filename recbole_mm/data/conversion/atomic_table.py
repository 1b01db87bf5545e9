"""Rows of atomic files: tab-separated, and quoted as pandas does, which is how RecBole reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from recbole_mm.data.conversion.cells import BREAKS

if TYPE_CHECKING:
    import pyarrow as pa


def write_header(file: BinaryIO, fields: list[str]) -> None:
    """The first line, such as ``user_id:token<TAB>item_id:token``."""
    file.write(("\t".join(fields) + "\n").encode())


def write_rows(file: BinaryIO, columns: list[pa.Array]) -> None:
    """A line for each row of some columns of texts, `[n]` each.

    A cell with a quotation mark is put into marks with those inside doubled, so that pandas gives its own text back.
    """
    import pyarrow.compute as pc

    if not len(columns[0]):
        return
    lines = pc.binary_join_element_wise(*(_marked(column) for column in columns), "\t")
    file.write(("\n".join(lines.to_pylist()) + "\n").encode())


def one_line_cells(texts: list[str | None]) -> tuple[pa.Array, int]:
    """Texts with tabs and line ends, which no cell can hold, as blanks; None is empty; and how many had such."""
    import pyarrow as pa
    import pyarrow.compute as pc

    cells = pc.fill_null(pa.array(texts, pa.string()), "")
    broken = pc.match_substring_regex(cells, BREAKS)
    count = pc.sum(broken).as_py() or 0
    return (pc.replace_substring_regex(cells, rf"\s*{BREAKS}\s*", " ") if count else cells), count


def _marked(cells: pa.Array) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    cells = pc.cast(cells, pa.string())
    marked = pc.match_substring(cells, '"')
    if not pc.any(marked).as_py():
        return cells
    doubled = pc.binary_join_element_wise('"', pc.replace_substring(cells, '"', '""'), '"', "")
    return pc.if_else(marked, doubled, cells)
