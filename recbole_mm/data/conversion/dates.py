"""Dates of a source as seconds since 1970."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

Place = Callable[[int], str]
# of Goodreads, Amazon's reviewTime, and much of Europe, where points mean that the day is first
SPELLED = ("%a %b %d %H:%M:%S %z %Y", "%m %d, %Y", "%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%d.%m.%Y")


def parsed_dates(texts: pa.Array, place: Place) -> pa.Array:
    """Dates as `2024-05-31 10:00:00`, or all in one of SPELLED, as timestamps.

    Raises:
        ValueError: one is none, or some have a time zone and others none; names its place.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    for unit in ("us", "ns"):
        for zone in (None, "UTC"):
            try:
                return pc.cast(texts, pa.timestamp(unit, zone))
            except pa.ArrowInvalid:
                continue
    spelled = next((form for form in SPELLED if _spelled(texts[0].as_py(), form) is not None), None)
    if spelled is not None:
        dates = [_spelled(text, spelled) for text in texts.to_pylist()]
        if None in dates:
            bad = dates.index(None)
            raise ValueError(f"{place(bad)}: the time is {texts[bad].as_py()!r}, no date as {texts[0].as_py()!r}")
        return pa.array(dates, pa.timestamp("s", "UTC"))
    zones = [_zone_of_date(texts[row : row + 1]) for row in range(len(texts))]
    row = next((row for row, zone in enumerate(zones) if zone is None), None)
    if row is None:
        row = next(row for row, zone in enumerate(zones) if zone != zones[0])
        others = ("with", "without") if zones[row] == "UTC" else ("without", "with")
        raise ValueError(
            f"{place(row)}: the time is {texts[row].as_py()!r}, {others[0]} a time zone where those before are "
            f"{others[1]}; write all alike"
        )
    raise ValueError(
        f"{place(row)}: the time is {texts[row].as_py()!r}, neither a number nor a date as 2024-05-31 10:00:00; "
        "write it so, or leave the column out with --time none"
    )


def _spelled(text: str, form: str) -> datetime | None:
    """A date in another form, of UTC where it has no zone; None where it is none."""
    try:
        date = datetime.strptime(text, form)
    except ValueError:
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def _zone_of_date(text: pa.Array) -> str | None:
    """`UTC` where a date has a time zone, nothing where it has none; None where it is no date."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for zone in ("", "UTC"):
        try:
            pc.cast(text, pa.timestamp("ns", zone or None))
        except pa.ArrowInvalid:
            continue
        return zone
    return None


def seconds(dates: pa.Array) -> pa.Array:
    """Seconds since 1970 as texts, exact: of nanoseconds too."""
    import pyarrow as pa
    import pyarrow.compute as pc

    unit = dates.type.unit if pa.types.is_timestamp(dates.type) else "s"
    digits = {"s": 0, "ms": 3, "us": 6, "ns": 9}[unit]
    ticks = pc.cast(pc.cast(dates, pa.timestamp(unit, getattr(dates.type, "tz", None))), pa.int64())
    while digits and pc.all(pc.equal(pc.multiply(pc.divide(ticks, 1000), 1000), ticks)).as_py():
        ticks, digits = pc.divide(ticks, 1000), digits - 3
    if not digits:
        return pc.cast(ticks, pa.string())
    tick = pa.scalar(Decimal(1).scaleb(-digits), pa.decimal128(digits + 1, digits))
    texts = pc.cast(pc.multiply(pc.cast(ticks, pa.decimal128(19, 0)), tick), pa.string())
    return pc.utf8_rtrim(pc.utf8_rtrim(texts, "0"), ".")
