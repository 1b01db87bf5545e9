"""Feature arrays as NumPy saves them, with the item ids of their rows in a text file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from recbole_mm.io.reading import read_lines, regular_file


def load_npy(path: Path) -> np.ndarray:
    """A saved array, as a memory map.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or holds objects or several arrays.
    """
    if not path.exists():
        raise FileNotFoundError(f"there is no feature file {path}; give a .npy file")
    regular_file(path)
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError:
        raise
    except Exception as error:  # of the tokenizer, zipfile and numpy's own, whatever the damage leads them to
        raise ValueError(
            f"{path} is not a whole .npy file of numbers, perhaps cut short; save it again with numpy.save"
        ) from error
    if not isinstance(values, np.ndarray):
        raise ValueError(f"{path} holds several arrays; save the one of this modality with numpy.save")
    return values


def read_ids(path: Path) -> list[str]:
    """Item ids, one a line.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not text, or a line is empty.
    """
    if not path.exists():
        raise FileNotFoundError(
            f"there is no file {path}; it must give the item id of each feature row, one a line"
        )
    ids = read_lines(path)
    if "" in ids:
        raise ValueError(f"{path}, line {ids.index('') + 1}: no item id; every line must give one")
    return ids
