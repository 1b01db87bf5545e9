"""Feature arrays as NumPy saves them, with the item ids of their rows in a text file."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from recbole_mm.io.errors import one_line
from recbole_mm.io.memory import check_unpacked
from recbole_mm.io.reading import open_regular, read_lines

_NPY, _START = b"\x93NUMPY", 512


# how files begin that are taken for arrays, and what to do with each
_SAVE = "numpy.save('FILE.npy', ...)"
_KINDS = {
    b"\x80": f"a pickle, which could run code; open it where you trust it and save its numbers: {_SAVE}",
    b"PAR1": f"a Parquet table; save its vectors: {_SAVE} of numpy.stack(pandas.read_parquet(...)['COLUMN'])",
    b"ARROW1": "an Arrow file; one that recbole_mm wrote is copied beside the .inter as NAME.MODALITY.arrow as it is",
    b"\x89HDF": f"an HDF5 file; save the array of it: {_SAVE}",
    b"MATLAB": f"a MATLAB file; save the array of it: {_SAVE} of scipy.io.loadmat(...)['NAME']",
    b"\x1f\x8b": "a gzip archive; unpack it",
    b"IxF": f"a faiss index; save its vectors: {_SAVE} of faiss.read_index(...).reconstruct_n()",
    b"version https://git-lfs": "a pointer of Git LFS; fetch the file itself with git lfs pull",
    b"<!DOCTYPE": "an HTML page; download the file itself",
    b"<html": "an HTML page; download the file itself",
    b'{"': f"JSON; save its vectors, {_SAVE} of a list of lists, and the ids of its rows one a line",
}
_TORCH = f"a torch file (.pt), a pickle; load it if you trust it and save its numbers: {_SAVE} of TENSOR.numpy()"
_OBJECTS = (
    "an array of Python objects, such as a dict of ids or rows with gaps, which are a pickle inside; save a table of "
    f"numbers, {_SAVE} of numpy.stack(list(VECTORS.values())), and the ids of its rows one a line"
)


def load_npy(path: Path) -> np.ndarray:
    """A saved array, as a memory map; the one of an `.npz` archive, in memory.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is another kind of file, which is named, is damaged, or holds objects or several arrays.
    """
    if not path.exists():
        raise FileNotFoundError(f"there is no feature file {path}; give a .npy file")
    with open_regular(path) as file:
        start = file.read(_START)
    kind = next((kind for magic, kind in _KINDS.items() if start.startswith(magic)), None)
    if start.startswith(b"PK"):
        return _load_archive(path)
    if kind is None and not start.startswith(_NPY):
        kind = _kind_of_text(start)
    if kind is not None:
        raise ValueError(f"{path} is {kind}")
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError:
        raise
    except Exception as error:  # of the tokenizer and numpy's own, whatever the damage leads them to
        if "Object arrays cannot be" in str(error) or "Python objects in dtype" in str(error):
            raise ValueError(f"{path} is {_OBJECTS}") from error
        raise ValueError(
            f"{path} is not a whole .npy file of numbers, perhaps cut short; save it again with numpy.save"
        ) from error


def _kind_of_text(start: bytes) -> str:
    """What begins like no array."""
    if not start:
        return "not a whole .npy file of numbers but empty; save the features again"
    if start[8:10] == b'{"':
        return f"a safetensors file; save the tensor of it: {_SAVE} of safetensors.numpy.load_file(...)['NAME']"
    try:
        start.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if error.start < len(start) - 4:  # not only the last letter, of which a part is read
            return f"no .npy file of numbers; save the features with {_SAVE}"
    if b"\0" in start:
        return f"no .npy file of numbers; save the features with {_SAVE}"
    return f"text, such as a CSV table; save its numbers: {_SAVE} of numpy.loadtxt(...), and ids of their own file"


def _load_archive(path: Path) -> np.ndarray:
    try:
        with zipfile.ZipFile(path) as archive:
            names, size = archive.namelist(), sum(member.file_size for member in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise ValueError(f"{path} is a damaged .npz or .pt archive ({one_line(error)}); save it again") from error
    if any(name.endswith("data.pkl") for name in names):
        raise ValueError(f"{path} is {_TORCH}")
    arrays = [name for name in names if name.endswith(".npy")]
    if len(names) != 1 or arrays != names:
        shown = ", ".join(name.removesuffix(".npy") for name in names[:6]) or "nothing"
        raise ValueError(f"{path} is an archive of {shown}; save the one array of this modality: {_SAVE}")
    check_unpacked(path, size)  # more than these bytes zipfile does not unpack, whatever the array's header says
    try:
        with np.load(path, allow_pickle=False) as stored:
            return stored[stored.files[0]]
    except Exception as error:  # of zipfile, zlib and numpy's own, whatever the damage leads them to
        if "Object arrays cannot be" in str(error):
            raise ValueError(f"{path} is an .npz archive of {_OBJECTS}") from error
        raise ValueError(f"{path} is a damaged .npz archive ({one_line(error)}); save it again") from error


def read_ids(path: Path) -> list[str]:
    """Item ids, one a line.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not text, or a line is empty.
    """
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}; it must give the item id of each feature row, one a line")
    ids = read_lines(path)
    if "" in ids:
        raise ValueError(f"{path}, line {ids.index('') + 1}: no item id; every line must give one")
    return ids
