"""The text form of a feature file: RecBole's atomic file with the header `item_id:token<TAB>x:float_seq`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from recbole_mm.data.feature_table import FeatureTable, checked_features, collapse_duplicates, first_non_finite
from recbole_mm.data.file_form import FileForm
from recbole_mm.io.counting import counted
from recbole_mm.io.files import atomic_file
from recbole_mm.io.first_line import check_separator
from recbole_mm.io.numbers import NumberError, real
from recbole_mm.io.reading import decoded, open_regular, regular_file
from recbole_mm.io.tables import (
    MARK,
    bad_value,
    check_letters,
    check_marked_alike,
    is_marked,
    unquoted,
    unquoted_ids,
)

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK_BYTES = 1 << 22
HEADER_BYTES = 4096
RECBOLES = FileForm()
OTHER_IDS = ("user", "uid", "ent", "head", "tail", "rel")  # first columns of vectors that are not of items


def has_feature_header(path: Path, form: FileForm = RECBOLES) -> bool:
    """Whether the first line is that of a feature file: an item id (token) and one float_seq."""
    fields = _first_cells(path, form)
    return len(fields) == 2 and fields[0] == f"{form.item_field}:token" and fields[1].endswith(":float_seq")


def is_meant_as_features(path: Path, form: FileForm = RECBOLES) -> bool:
    """Whether a file holds vectors of items, whatever its first line: it names some, or the second one has some."""
    first = _first_cells(path, form)
    if first[0].startswith(OTHER_IDS):
        return False
    if any(":float_seq" in cell for cell in first):
        return True
    with open_regular(path) as file:
        file.readline()
        cells = file.readline(HEADER_BYTES).decode(form.encoding, errors="replace").strip().split(form.separator)
    values = cells[-1].split(form.seq_separator)
    return len(cells) > 1 and len(values) > 1 and all(map(_is_number, filter(None, values[:-1])))


def _first_cells(path: Path, form: FileForm) -> list[str]:
    with open_regular(path) as file:
        header = file.readline(HEADER_BYTES).decode(form.encoding, errors="replace").lstrip("\ufeff")
    cells = header.rstrip("\r\n").split(form.separator)
    return [unquoted(cell) for cell in cells]


def write_text(
    path: Path,
    modality: str,
    ids: Sequence[str],
    values: np.ndarray,
) -> None:
    """Write the text form, atomically, with the fewest digits that read back as the same float32.

    Args:
        path: `<dataset>.<modality>`.
        ids: item ids, `[n_rows]`.
        values: `[n_rows, width]`.

    Raises:
        ValueError: see `checked_features`.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    ids, values = checked_features(ids, values, path)
    width = values.shape[1]
    step = max(1, BLOCK_BYTES // (10 * width))
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write(f"item_id:token\t{modality}_feature:float_seq\n")
        for start in range(0, len(ids), step):
            block = values[start : start + step].astype(np.float32)
            offsets = np.arange(0, block.size + 1, width, dtype=np.int32)
            numbers = pc.cast(pa.array(block.reshape(-1)), pa.string())
            vectors = pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets), numbers), " ")
            for item, vector in zip(ids[start : start + step], vectors.to_pylist(), strict=True):
                file.write(f"{item}\t{vector}\n")


def read_text(path: Path, form: FileForm = RECBOLES, *, allow_non_finite: bool = False) -> FeatureTable:
    """Read the text form as float32; blank lines are skipped, marks around cells are as in the other files.

    Raises:
        ValueError: the file is empty, has another header or no rows; a line has no id, a value that is no
            number, another number of values than the first, or a non-finite value (unless allowed); an item
            has two different rows. The message names the file and the lines.
    """
    check_header(path, form)
    lines: list[int] = []
    ids: list[str] = []
    blocks: list[np.ndarray] = []
    for block in _numbered_blocks(path):
        rows = [_split_line(path, number, line, form) for number, line in block]
        lines += [number for number, _ in block]
        ids += [item for item, _ in rows]
        width = blocks[0].shape[1] if blocks else None
        blocks.append(parse_vectors(path, lines, [vector for _, vector in rows], form.seq_separator, width))
    if not blocks:
        raise ValueError(f"{path} holds no rows under its header; fill it, or delete it")
    return numbered_table(path, lines, unquoted_ids(ids), np.concatenate(blocks), allow_non_finite)


def numbered_table(
    path: Path, lines: Sequence[int], ids: list[str], values: np.ndarray, allow_non_finite: bool
) -> FeatureTable:
    """Rows that stand in the lines of a file; raises ValueError as :func:`read_text`."""
    bad = None if allow_non_finite else first_non_finite(values)
    if bad is not None:
        raise ValueError(
            f"{path}, line {lines[bad]}: item {ids[bad]!r} holds a value that is not finite as float32; "
            "correct it, or delete the line"
        )
    return FeatureTable(*collapse_duplicates(ids, values, path, lambda row: f"line {lines[row]}"), path)


def _numbered_blocks(path: Path) -> Iterator[list[tuple[int, bytes]]]:
    """Lines under the header that are not blank, with their numbers, some megabytes at a time."""
    read = 1
    with open_regular(path) as file:
        file.readline()
        while block := file.readlines(BLOCK_BYTES):
            numbered = [(read + i, line) for i, line in enumerate(block, 1) if line.strip()]
            read += len(block)
            if numbered:
                yield numbered


def check_header(path: Path, form: FileForm = RECBOLES) -> None:
    """Raise ValueError for a file whose first line is not that of a feature file; names the file and what it is."""
    if regular_file(path).stat().st_size == 0:
        raise ValueError(f"{path} is empty; make it again, or delete it")
    if has_feature_header(path, form):
        _check_marked_alike(path, form)
        return
    with open_regular(path) as file:
        check_letters(path, decoded(path, file.readline(HEADER_BYTES), form.encoding), 1)
    cells = _first_cells(path, form)
    check_separator(path, form.separator.join(cells), form.separator)
    found, expected = form.separator.join(cells)[:80], f"{form.item_field}:token{form.separator}<name>:float_seq"
    other = cells[0].removesuffix(":token")
    is_renamed = len(cells) == 2 and cells[0].endswith(":token") and cells[1].endswith(":float_seq")
    remedy = f"; if '{other}' is the column of item ids, set ITEM_ID_FIELD: {other}" if is_renamed else ""
    raise ValueError(f"{path}, line 1: the header must be {expected!r}, found {found!r}{remedy}")


def _check_marked_alike(path: Path, form: FileForm) -> None:
    """As of tables, by the first row."""
    with open_regular(path) as file:
        first, row = (file.readline(HEADER_BYTES).decode(form.encoding, errors="replace") for _ in range(2))
    cells = first.lstrip("\ufeff").rstrip("\r\n").split(form.separator)
    if all(map(is_marked, cells)) and MARK not in row:
        check_marked_alike(path, row.partition(form.separator)[0].strip() or None)


def _split_line(path: Path, number: int, line: bytes, form: FileForm) -> tuple[str, str]:
    text = decoded(path, line, form.encoding, number).rstrip("\r\n")
    check_letters(path, text, number)
    item, separator, vector = text.partition(form.separator)
    if not item.strip() or not separator:
        raise ValueError(
            f"{path}, line {number}: expected an item id, {form.separator!r} and the values, "
            f"found {line[:40].decode('utf-8', errors='replace')!r}"
        )
    return item, unquoted(vector)


def parse_vectors(
    path: Path, lines: list[int], vectors: list[str], separator: str, width: int | None = None
) -> np.ndarray:
    """Vectors as text to float32 `[len(vectors), width]`; `lines` ends with the numbers of their lines."""
    import pyarrow as pa
    import pyarrow.compute as pc

    here = lines[len(lines) - len(vectors) :]
    tokens = pc.split_pattern(pa.array([_one_separator(vector, separator) for vector in vectors]), separator)
    widths = np.diff(tokens.offsets.to_numpy())
    width = int(widths[0]) if width is None else width
    ragged = np.flatnonzero(widths != width)
    if "" in vectors:
        raise ValueError(
            f"{path}, line {here[vectors.index('')]}: no values; "
            "leave out the line of an item without features"
        )
    if len(ragged):
        row = ragged[0]
        raise ValueError(
            f"{path}, line {here[row]}: {counted(widths[row], 'value')} where line {lines[0]} has {width}; "
            "every line needs the same number"
        )
    words = tokens.flatten()
    try:
        values = pc.cast(words, pa.float32()).to_numpy()
    except pa.ArrowInvalid as error:
        raise ValueError(_describe_bad_number(path, here, tokens)) from error
    ends = np.flatnonzero((values == 0) | np.isinf(values))
    says_more = pc.match_substring_regex(words.take(pa.array(ends)), "^[^eE]*[1-9]")
    for place in ends[says_more.to_numpy(zero_copy_only=False)]:
        try:
            real(words[place].as_py())
        except NumberError as error:
            raise ValueError(f"{path}, line {here[place // width]}: {error}") from error
    return values.reshape(-1, width)


def _one_separator(vector: str, separator: str) -> str:
    # RecBole reads doubled, leading and trailing separators as one; so do we.
    doubled = separator * 2 in vector or vector.startswith(separator) or vector.endswith(separator)
    return separator.join(filter(None, vector.split(separator))) if doubled else vector


def _describe_bad_number(path: Path, lines: list[int], tokens: pa.ListArray) -> str:
    number, row = next(
        (number, row)
        for number, row in zip(lines, tokens.to_pylist(), strict=True)
        if not all(map(_is_number, row))
    )
    return f"{path}, line {number}: {bad_value(row, _is_number)}"


def _is_number(token: str) -> bool:
    import pyarrow as pa

    try:
        pa.scalar(token).cast(pa.float32())
    except pa.ArrowInvalid:
        return False
    return True
