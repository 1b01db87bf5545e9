"""What a conversion tells of its source beside counts: files that it left alone, and ids that are nearly the same."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path

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


def nearly_same(ids: dict[str, int], what: str) -> list[str]:
    """A note that counts ids which differ from another one in the blanks around them alone."""
    near = [one for one in ids if one != one.strip() and one.strip() in ids]
    if not near:
        return []
    return [f"{len(near):,} {what} ids are those of others but for blanks around, such as {near[0]!r}; they stay apart"]
