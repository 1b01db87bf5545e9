"""Files and folders that no other process has: RecBole names them by the second at which a run starts."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from pathlib import Path


def create_new(path: str | os.PathLike[str]) -> Path:
    """Make an empty file of that name, or with the first free number behind it; gives its path.

    Raises OSError where the folder takes no files.
    """
    return _first_free(Path(path), lambda name: os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)))


def create_new_folder(path: str | os.PathLike[str]) -> Path:
    """Make an empty folder of that name, or with the first free number behind it, and those above it; gives its path.

    Raises OSError where it cannot be made.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    return _first_free(Path(path), os.mkdir)


def _first_free(path: Path, make: Callable[[Path], None]) -> Path:
    for name in itertools.chain([path], (path.with_stem(f"{path.stem}-{n}") for n in itertools.count(2))):
        try:
            make(name)
        except FileExistsError:
            continue
        return name
    raise AssertionError("numbers have no end")
