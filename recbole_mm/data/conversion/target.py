"""The folder that a conversion writes to, looked at before it begins."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from recbole_mm.io.files import is_occupied
from recbole_mm.settings_text import shown

_LONGEST_NAME = 150  # bytes: names of logs and temporary files hold it, and no name of a file may have above 255


def check_target(
    source: Path | None, name: str, target: Path, overwrite: bool, others: Iterable[Path | None] = ()
) -> None:
    """Raise ValueError where `target` cannot be the folder of the data set `name`.

    Args:
        source: what is converted; None where it is no file.
        overwrite: whether a folder that stands there may be replaced.
        others: further files that are read.
    """
    if not _is_plain(name):
        raise ValueError(
            f"{shown(name)} cannot name a data set; give a plain name of at most {_LONGEST_NAME} bytes, and the folder "
            f"that will hold it as out"
        )
    if any(
        folder.exists() and folder.resolve().is_relative_to(target.resolve()) for folder in (source, *others) if folder
    ):
        raise ValueError(f"{target} is the source, or holds it; choose another folder to write to")
    if is_occupied(target) and not overwrite:
        raise ValueError(f"{target} is not empty; choose another name or folder, or pass --overwrite to replace it")


def _is_plain(name: str) -> bool:
    is_file_name = name not in ("", ".", "..") and Path(name).name == name and name.strip() == name
    return is_file_name and name.isprintable() and len(name.encode()) <= _LONGEST_NAME
