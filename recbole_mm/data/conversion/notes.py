"""What a conversion tells of its source beside counts: files that it left alone, and ids that are nearly the same."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Container, Iterable
from fnmatch import fnmatch
from pathlib import Path

from recbole_mm.io.counting import counted

MOST_NAMES = 8
# of data, not of readmes, licences and pictures
_SUFFIXES = (
    "csv", "tsv", "json", "jsonl", "parquet", "inter", "npy", "npz", "pt", "pth", "pkl", "pickle", "h5", "mat", "b",
    "xlsx", "xls", "feather", "arrow",
)  # fmt: skip


def unread_files(source: Path, read: Iterable[Path], also_read: tuple[str, ...]) -> list[str]:
    """A note that names the files of data in a folder that nothing was read from.

    Args:
        also_read: patterns of names that are read for ids.
    """
    if not source.is_dir():
        return []
    done = {path.resolve() for path in read}
    left = [
        path.name
        for path in sorted(source.iterdir())
        if path.name.lower().removesuffix(".gz").rpartition(".")[2] in _SUFFIXES
        and path.is_file()
        and path.resolve() not in done
        and not any(fnmatch(path.name, pattern) for pattern in also_read)
    ]
    more = f" and {len(left) - MOST_NAMES} more" if len(left) > MOST_NAMES else ""
    return [f"not read: {', '.join(left[:MOST_NAMES])}{more}"] if left else []


def nearly_same(ids: Iterable[str], known: Container[str], odd: Container[str] = ()) -> list[str]:
    """Ids that are known ones but for blanks around them or how accents are composed.

    Args:
        known: the ones that they should be.
        odd: of known ones that have such blanks or letters, what they are without (:func:`odd_ones`).
    """
    return [
        item_id
        for item_id in ids
        if (_plain(item_id) != item_id and _plain(item_id) in known) or _plain(item_id) in odd
    ]


def odd_ones(known: Iterable[str]) -> set[str]:
    """See `nearly_same`."""
    return {_plain(item_id) for item_id in known if _plain(item_id) != item_id}


def note_of_near(near: list[str], what: str) -> list[str]:
    """The note of ids that are nearly others; none where there are none."""
    if not near:
        return []
    return [
        f"{counted(len(near), f'{what} id is another', f'{what} ids are others')} but for blanks around or how accents "
        f"are composed, such as {near[0]!r}; they stay apart"
    ]


def rounded(ids: Iterable[str], what: str) -> list[str]:
    """The note of ids that a spreadsheet has rounded; none where there are none."""
    found = [item_id for item_id in ids if re.fullmatch(r"\d([.,]\d+)?E\+\d+", item_id)]
    if not found:
        return []
    return [
        f"a spreadsheet seems to have rounded {counted(len(found), f'{what} id')}, such as {found[0]!r}, so that "
        "several may have become one; format their column as text, and save the table again"
    ]


def _plain(text: str) -> str:
    return unicodedata.normalize("NFC", text.strip())
