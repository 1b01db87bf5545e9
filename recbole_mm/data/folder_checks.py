"""Whether there is a data set of a name, before anything is read of it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from recbole_mm.io.names import closest

SHIPPED = "ml-100k"  # which RecBole has in its package


def check_data(dataset: str, folder: Path, others: Iterable[str] = ()) -> None:
    """Raise ValueError where a folder does not hold a data set, naming the closest one there is.

    Args:
        dataset: its name.
        folder: that holds the data set's own.
        others: names of data sets that need not lie there.
    """
    check_dataset_name(dataset)
    elsewhere = {SHIPPED, *others}
    if (folder / dataset).is_dir() or dataset in elsewhere:
        return
    there = sorted(child.name for child in folder.iterdir() if child.is_dir()) if folder.is_dir() else []
    hint = closest(dataset, {*there, *elsewhere})
    if not folder.is_dir():
        raise ValueError(f"data_path: there is no folder {folder}; it is the folder that holds {dataset}/{hint}")
    raise ValueError(f"data_path: {folder} holds no data set '{dataset}'{hint}; there are {', '.join(there) or 'none'}")


def check_dataset_name(dataset: str) -> None:
    """Raise ValueError where a data set's name is none, such as a path."""
    if not dataset:
        raise ValueError("--dataset: '' is no name; give that of the folder with the data set's files")
    if Path(dataset).name != dataset or dataset in (".", ".."):
        raise ValueError(
            f"--dataset: '{dataset}' is a path; give the name of the folder alone, {Path(dataset).name or 'NAME'}, "
            "and the folder that holds it as data_path"
        )
