"""Which files of a folder belong to which item: by name, by number, by folder, or by a column of the `.item` file."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

NUMBERED = re.compile(r"(?P<item>.+)_\d+", re.DOTALL)


def item_files(folder: Path, items: Iterable[str], suffixes: tuple[str, ...]) -> dict[str, list[Path]]:
    """Files by item, sorted by name, absolute; items without any are left out.

    An item's files are ``<id>.jpg`` in the folder or any below it, ``<id>_1.jpg``, ``<id>_2.jpg``, and all in a folder
    ``<id>``. An id with a slash is a path; one may have the suffix. A file whose whole name is an item's id is of that
    item alone; of two files that differ in their suffix alone the first by name counts. Names are matched with what is
    listed, so that no id, such as ``../x``, leads out of the folder. Where no id is a name letter by letter, one is
    that differs in how accents are composed, as names do that have been on a Mac.
    """
    known = set(items)
    composed = {_composed(item): item for item in known}
    found: dict[str, dict[str, Path]] = defaultdict(dict)
    for path in _listed(folder, suffixes):
        owner = next((name for name in _owners(path) if name in known), None) or next(
            (composed[name] for name in map(_composed, _owners(path)) if name in composed), None
        )
        if owner is not None:
            found[owner].setdefault(path.with_suffix("").as_posix(), (folder / path).absolute())
    return {item: list(found[item].values()) for item in known & found.keys()}


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def other_files(folder: Path, files: Mapping[str, list[Path]]) -> list[str]:
    """Names, relative to a folder, of what is there and is none of the files by item."""
    taken = {file for of_item in files.values() for file in of_item}
    return [path.as_posix() for path in _listed(folder, ()) if (folder / path).absolute() not in taken]


def mapped_files(folder: Path, names: Mapping[str, str], option: str) -> dict[str, list[Path]]:
    """Files by item, where a column of the `.item` file names them relative to the folder, several by blanks.

    Args:
        names: what the column says by item; one that is blank or names no file of the folder has none.
        option: of the command, for errors.

    Raises:
        ValueError: a name leads out of the folder.
    """
    listed = {path.as_posix() for path in _listed(folder, ())}
    found: dict[str, list[Path]] = {}
    for item, text in names.items():
        whole = [text] if text in listed else text.split()
        for name in whole:
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                raise ValueError(f"{option}: item {item!r} names {name!r}, which is not below {folder}")
        files = [(folder / name).absolute() for name in whole if PurePosixPath(name).as_posix() in listed]
        if files:
            found[item] = files
    return found


def _listed(folder: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    """Paths relative to the folder, of all suffixes where none are given; links to folders are not followed."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        # a folder with a picture's name is listed too, so that it is said of its item that it cannot be read
        for name in sorted([*names, *(name for name in folders if Path(name).suffix)] if suffixes else names):
            if not name.startswith(".") and (not suffixes or Path(name).suffix.lower() in suffixes):
                yield (Path(place) / name).relative_to(folder)


def _owners(path: Path) -> Iterator[str]:
    """Ids that a file may be of, the likeliest first."""
    yield from (path.as_posix(), path.name)
    whole = path.with_suffix("").as_posix()
    yield whole
    yield path.stem
    for name in (whole, path.stem):
        if numbered := NUMBERED.fullmatch(name):
            yield numbered["item"]
    if len(path.parts) > 1:
        yield path.parent.as_posix()
        yield path.parent.name
