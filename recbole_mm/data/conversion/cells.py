"""Values of a source as the texts that an atomic file holds: ids and numbers kept as they are, bad ones named."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from recbole_mm.data.conversion.dates import parsed_dates, seconds

if TYPE_CHECKING:
    import pyarrow as pa

Place = Callable[[int], str]
BREAKS = r"[\t\r\n\x00]"


def as_array(values: Any, what: str, place: Place) -> pa.Array:
    """Any sequence as one array of Arrow's.

    Raises:
        ValueError: its values are of several kinds, or one can be no value; names its place.
    """
    import pyarrow as pa

    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if isinstance(values, pa.DictionaryArray):  # pandas' and polars' categories
        return _plain_text(values.dictionary).take(values.indices)
    if isinstance(values, pa.Array):
        return _plain_text(values)
    try:
        return pa.array(values, from_pandas=False)
    except (pa.ArrowException, TypeError, OverflowError, UnicodeEncodeError) as error:
        row = next((row for row, value in enumerate(values) if type(value) is not type(values[0])), 0)
        raise ValueError(
            f"{place(row)}: the {what} is {values[row]!r:.40}, no text or number as those before; cast the column"
        ) from error


def id_texts(values: Any, what: str, place: Place) -> pa.Array:
    """Ids as texts.

    Raises:
        ValueError: one is empty, missing, holds a tab or a line's end, or is no text or integer; names its place.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    array = as_array(values, what, place)
    whole = pa.types.is_integer(array.type) or (pa.types.is_decimal(array.type) and array.type.scale == 0)
    if not (_is_text(array.type) or whole):
        kind = "are missing" if pa.types.is_null(array.type) else f"are {array.type}"
        remedy = "give each a row of its own" if kind.startswith("are list<") else "cast the column"
        raise ValueError(f"{place(0)}: the {what}s {kind}; ids are texts or integers: {remedy}")
    if array.null_count:
        raise ValueError(f"{place(_first(pc.is_null(array)))}: the {what} is missing; fill it, or delete the row")
    texts = pc.cast(array, pa.string())
    empty = pc.equal(texts, "")
    if pc.any(empty).as_py():
        raise ValueError(f"{place(_first(empty))}: the {what} is empty; fill it, or delete the row")
    broken = pc.match_substring_regex(texts, BREAKS)
    if pc.any(broken).as_py():
        row = _first(broken)
        raise ValueError(f"{place(row)}: the {what} {texts[row].as_py()!r} has a tab, a line's end or a NUL; rename it")
    return texts


def number_texts(values: Any, what: str, place: Place) -> pa.Array:
    """Numbers as texts: those of a text file as they are, others with the fewest digits that read back the same.

    Raises:
        ValueError: one is missing or no number; names its place.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    array = as_array(values, what, place)
    if array.null_count:
        raise ValueError(f"{place(_first(pc.is_null(array)))}: {_absent(what)}")
    if pa.types.is_boolean(array.type):
        array = pc.cast(array, pa.int8())
    if not _is_text(array.type):
        kinds = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)
        if not any(is_kind(array.type) for is_kind in kinds):
            raise ValueError(f"{place(0)}: the {what} is {array.type}, which is no number; cast the column")
        texts = pc.cast(array, pa.string())
        number = pc.cast(array, pa.float64(), safe=False)  # only to see that it is finite; the text is exact
    else:
        texts = pc.utf8_trim_whitespace(pc.cast(array, pa.string()))
        number = _numbers(texts, what, place)
    finite = pc.is_finite(number)
    if not pc.all(finite).as_py():
        row = _first(pc.invert(finite))
        raise ValueError(f"{place(row)}: the {what} is {texts[row].as_py()!r}, which is not finite; correct it")
    return texts


def time_texts(values: Any, place: Place) -> tuple[pa.Array, bool]:
    """Times as numbers in text, and whether they were dates, which become seconds since 1970 (UTC).

    Raises:
        ValueError: one is missing, or neither a number nor a date such as ``2024-05-31 10:00:00``; names its place.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    array = as_array(values, "time", place)
    if array.null_count:
        raise ValueError(f"{place(_first(pc.is_null(array)))}: {_absent('time')}")
    if pa.types.is_timestamp(array.type) or pa.types.is_date(array.type):
        return seconds(array), True
    if _is_text(array.type) and len(array) and not _is_number(array[0].as_py()):
        texts = pc.utf8_trim_whitespace(pc.cast(array, pa.string()))
        if pc.any(pc.equal(texts, "")).as_py():
            raise ValueError(f"{place(_first(pc.equal(texts, '')))}: {_absent('time')}")
        return seconds(parsed_dates(texts, place)), True
    return number_texts(array, "time", place), False


def sortable(texts: list[pa.Array]) -> np.ndarray:
    """Times as numbers that sort as they do, `[n]`: int64, of 1e-9 where all are decimals that fit, else float64."""
    import pyarrow as pa
    import pyarrow.compute as pc

    nanos = pa.scalar(10**9, pa.decimal128(10, 0))
    for kind in (pa.int64(), pa.decimal128(28, 9), pa.float64()):
        try:
            parts = [pc.cast(part, kind) for part in texts]
            if pa.types.is_decimal(kind):
                parts = [pc.cast(pc.multiply(part, nanos), pa.int64()) for part in parts]
            return np.concatenate([part.to_numpy(zero_copy_only=False) for part in parts])
        except pa.ArrowInvalid:
            continue
    raise AssertionError("checked when they were read")


def _numbers(texts: pa.Array, what: str, place: Place) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        return pc.cast(texts, pa.float64())
    except pa.ArrowInvalid as error:
        row, text = next((row, text) for row, text in enumerate(texts.to_pylist()) if not _is_number(text))
        remedy = f"correct it, or leave the column out with --{what} none"
        remedy = "decimals have points" if _is_number(text.replace(",", ".", 1)) else remedy
        said = _absent(what) if not text else f"the {what} is {text!r}, which is no number; {remedy}"
        raise ValueError(f"{place(row)}: {said}") from error


def _absent(what: str) -> str:
    return f"the {what} is missing; fill it, delete the row, or leave the column out with --{what} none"


def _is_number(text: str) -> bool:
    import pyarrow as pa

    try:
        pa.scalar(text.strip()).cast(pa.float64())
    except pa.ArrowInvalid:
        return False
    return True


def _plain_text(array: pa.Array) -> pa.Array:
    """Polars' string views, for which Arrow has few functions, as texts."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.cast(array, pa.large_string()) if str(array.type) == "string_view" else array


def _is_text(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _first(mask: pa.Array) -> int:
    import pyarrow as pa

    return int(mask.index(pa.scalar(True)).as_py())
