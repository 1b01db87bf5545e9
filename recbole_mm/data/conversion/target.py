"""The folder that a conversion writes to, looked at before it begins."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from recbole_mm.io.files import is_occupied


def check_target(
    source: Path | None, name: str, target: Path, overwrite: bool, others: Iterable[Path | None] = ()
) -> None:
    """Raise ValueError where `target` cannot be the folder of the data set `name`.

    Args:
        source: what is converted; None where it is no file.
        overwrite: whether a folder that stands there may be replaced.
        others: further files that are read.
    """
    if not name or Path(name).name != name or name in (".", ".."):
        raise ValueError(f"{name!r} cannot name a data set; give a plain name, and the folder that will hold it as out")
    if any(one.exists() and one.resolve().is_relative_to(target.resolve()) for one in (source, *others) if one):
        raise ValueError(f"{target} is the source, or holds it; choose another folder to write to")
    if is_occupied(target) and not overwrite:
        raise ValueError(f"{target} is not empty; choose another name or folder, or pass --overwrite to replace it")
