"""What a compressed Arrow file takes in memory, by its own headers: pyarrow tells it only when it has unpacked all.

The places are those of Arrow's `File.fbs` and `Message.fbs` (format 1.0), in the form of FlatBuffers: a table begins
with the distance back to a list of where its fields stand, a reference is a distance forward.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

_END = 10  # of a file: the footer's length, and ARROW1
_DICTIONARIES, _BATCHES = 2, 3  # fields of a footer, lists of blocks; and kinds of messages
_HEADER_TYPE, _HEADER = 1, 2  # fields of a message
_DATA = 1  # field of a dictionary: its batch
_BUFFERS, _COMPRESSION = 2, 3  # fields of a batch


def unpacked_size(content: memoryview) -> int:
    """Bytes of all compressed buffers of an Arrow file, unpacked; 0 where none is compressed.

    Raises struct.error or IndexError for what pyarrow does not open either.
    """
    (length,) = struct.unpack_from("<i", content, len(content) - _END)
    start = len(content) - _END - length
    footer = start + _unsigned(content, start)
    blocks = [
        struct.unpack_from("<qi4xq", content, place)
        for field in (_DICTIONARIES, _BATCHES)
        for place in _elements(content, _field(content, footer, field), 24)
    ]
    return sum(_unpacked(content, offset, length) for offset, length, _ in blocks)


def _unpacked(content: memoryview, offset: int, length: int) -> int:
    """Of one message, whose body lies behind its `length` bytes."""
    start = offset + (8 if _unsigned(content, offset) == 0xFFFFFFFF else 4)
    message = start + _unsigned(content, start)
    kind, batch = _field(content, message, _HEADER_TYPE), _reference(content, _field(content, message, _HEADER))
    if kind is not None and content[kind] == _DICTIONARIES and batch is not None:
        batch = _reference(content, _field(content, batch, _DATA))
    if batch is None or _field(content, batch, _COMPRESSION) is None:
        return 0
    total = 0
    for place in _elements(content, _field(content, batch, _BUFFERS), 16):
        where, size = struct.unpack_from("<qq", content, place)
        if size:
            total += max(0, struct.unpack_from("<q", content, offset + length + where)[0])  # -1: it is not packed
    return total


def _unsigned(content: memoryview, place: int) -> int:
    return struct.unpack_from("<I", content, place)[0]


def _field(content: memoryview, table: int, number: int) -> int | None:
    """Where a table has its field of that number; None where it leaves it out."""
    places = table - struct.unpack_from("<i", content, table)[0]
    if 4 + 2 * number >= struct.unpack_from("<H", content, places)[0]:
        return None
    distance = struct.unpack_from("<H", content, places + 4 + 2 * number)[0]
    return table + distance if distance else None


def _reference(content: memoryview, place: int | None) -> int | None:
    return None if place is None else place + _unsigned(content, place)


def _elements(content: memoryview, place: int | None, size: int) -> Iterator[int]:
    """Where the elements of a list stand, which a field refers to."""
    start = _reference(content, place)
    for number in range(0 if start is None else _unsigned(content, start)):
        yield start + 4 + number * size  # type: ignore[operator]  # there is none without a start
