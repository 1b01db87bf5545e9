"""Kinds: what people hold instead of a plain array of features, through `convert npy`; lists of users."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

VALUES = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
IDS = "i0\ni1\ni2\ni3\n"


@dataclass(frozen=True)
class Array:
    """A file of features and the ids of its rows.

    Attributes:
        what, outcome: as of a case.
        name: of the file.
        content: its bytes.
        expected: values `[4, 3]` that come of it, None where it is refused.
        ids: a line for each row.
    """

    what: str
    outcome: str
    name: str
    content: bytes
    expected: np.ndarray | None = None
    ids: str = IDS


def _saved(save: Callable[[io.BytesIO], None]) -> bytes:
    file = io.BytesIO()
    save(file)
    return file.getvalue()


def _npy(values: np.ndarray) -> bytes:
    return _saved(lambda file: np.save(file, values, allow_pickle=True))


def _taken(what: str, values: np.ndarray, outcome: str = "the values by id, bit for bit") -> Array:
    expected = values if values.dtype == np.float16 else values.astype(np.float32)
    return Array(what, outcome, "a.npy", _npy(values), np.ascontiguousarray(expected))


AS_NPY = "numpy.save('FILE.npy', ...)"
ARRAYS = [
    _taken("in Fortran's order", np.asfortranarray(VALUES)),
    _taken("big-endian", VALUES.astype(">f4")),
    _taken("float16", VALUES.astype(np.float16)),
    _taken("float64", VALUES.astype(np.float64), "the values by id, as float32"),
    _taken("whole numbers", np.arange(12).reshape(4, 3), "the values by id, as float32"),
    Array("`.npz` of one array", "the values by id, bit for bit", "a.npz",
          _saved(lambda file: np.savez_compressed(file, features=VALUES)), VALUES),
    Array("`.npz` of two arrays", f"a.npz is an archive of a, b; save the one array of this modality: {AS_NPY}", "a.npz",
          _saved(lambda file: np.savez(file, a=VALUES, b=VALUES))),
    Array("a dict of vectors", f"a.npy is an array of Python objects, such as a dict of ids or rows with gaps, which are a "
          f"pickle inside; save a table of numbers, {AS_NPY} of numpy.stack(list(VECTORS.values())), and the ids of its "
          "rows one a line", "a.npy", _npy(np.array({"i0": VALUES[0]}, dtype=object))),
    Array("a pickle", f"a.pkl is a pickle, which could run code; open it where you trust it and save its numbers: {AS_NPY}",
          "a.pkl", pickle.dumps(VALUES)),
    Array("a CSV", f"a.csv is text, such as a CSV table; save its numbers: {AS_NPY} of numpy.loadtxt(...), and ids of "
          "their own file", "a.csv", b"i0,1,2,3\n"),
    Array("a torch file of earlier versions", f"a.pt is a pickle, which could run code; open it where you trust it and save its numbers: {AS_NPY}", "a.pt", b"\x80\x02\x8a"),
    Array("safetensors", f"a.safetensors is a safetensors file; save the tensor of it: {AS_NPY} of safetensors.numpy.load_file(...)['NAME']",
          "a.safetensors", (12).to_bytes(8, "little") + b'{"v":{}}    '),
    Array("HDF5", f"a.h5 is an HDF5 file; save the array of it: {AS_NPY}", "a.h5", b"\x89HDF\r\n\x1a\n"),
    Array("MATLAB", f"a.mat is a MATLAB file; save the array of it: {AS_NPY} of scipy.io.loadmat(...)['NAME']", "a.mat", b"MATLAB 5.0 MAT-file"),
    Array("an index of faiss", f"a.index is a faiss index; save its vectors: {AS_NPY} of faiss.read_index(...).reconstruct_n()", "a.index", b"IxFI\3\0\0\0"),
    Array("JSON", f"a.json is JSON; save its vectors, {AS_NPY} of a list of lists, and the ids of its rows one a line", "a.json", b'{"i0": [1.0, 2.0]}'),
    Array("packed by gzip", "a.npy.gz is a gzip archive; unpack it", "a.npy.gz", b"\x1f\x8b\x08"),
    Array("a pointer of Git LFS", "a.npy is a pointer of Git LFS; fetch the file itself with git lfs pull", "a.npy", b"version https://git-lfs.github.com/spec/v1\n"),
    Array("the page of a server that asks for a password", "a.npy is an HTML page; download the file itself", "a.npy", b"<!DOCTYPE html><html>"),
    Array("numbers as texts", "a.npy: features must be a table of numbers [items, width], this is <U1 [4, 1]", "a.npy", _npy(np.array([["1"]] * 4))),
    Array("fewer ids than rows", "a.npy: 4 rows of features for 2 item ids; there must be one each", "a.npy", _npy(VALUES), ids="i0\ni1\n"),
    Array("one id twice, with other values", "a.npy: item 'i0' has different features in row 0 and row 3; keep one of them", "a.npy", _npy(VALUES), ids="i0\ni1\ni2\ni0\n"),
    Array("an empty line among the ids", "ids.txt, line 2: no item id; every line must give one", "a.npy", _npy(VALUES),
          ids="i0\n\ni2\ni3\n"),
    Array("complex numbers", "a.npy: features must be a table of numbers [items, width], this is complex64 [4, 3]", "a.npy", _npy(VALUES.astype(np.complex64))),
    Array("three dimensions", "a.npy: features must be a table of numbers [items, width], this is float32 [1, 4, 3]", "a.npy", _npy(VALUES[None])),
    Array("one dimension", "a.npy: features must be a table of numbers [items, width], this is float32 [4]", "a.npy", _npy(VALUES[:, 0])),
    Array("a value that is no number", "a.npy: row 2 (item 'i2') holds a value that is not finite as float32; correct it, or leave the item out", "a.npy", _npy(np.where(VALUES > 1, np.nan, VALUES))),
    Array("cut short", "a.npy is not a whole .npy file of numbers, perhaps cut short; save it again with numpy.save",
          "a.npy", _npy(VALUES)[:-5]),
]  # fmt: skip


@dataclass(frozen=True)
class Listed:
    """A file of user ids, and the ids that are read of it; None where it is refused."""

    what: str
    outcome: str
    content: bytes
    expected: list[str] | None = None


USERS = ["u1", "NA", "Müller, Anna", '5" disc', " a", "a", "007", "[PAD]", "né", "x\ty"]  # of the data set
LISTS = [
    Listed("CRLF, a byte order mark, blank lines", "the ids", b"\xef\xbb\xbfu1\r\n\r\nNA\r\n", ["u1", "NA"]),
    Listed("an id twice", "once, at its first place", b"NA\nu1\nNA\n", ["NA", "u1"]),
    Listed("commas, `NA`, `007`, `[PAD]`", "ids as any other", "Müller, Anna\nNA\n007\n[PAD]\n".encode(),
           ["Müller, Anna", "NA", "007", "[PAD]"]),
    Listed("ids in marks, doubled within", "the ids without them", '"5"" disc"\n"Müller, Anna"\n'.encode(),
           ['5" disc', "Müller, Anna"]),
    Listed("a lone mark", "as it stands", b'5" disc', ['5" disc']),
    Listed("blanks before and after", "the id with them, where there is one, else the one without", b" a\n u1 \na\n",
           [" a", "u1", "a"]),
    Listed("no end of the last line", "the ids", b"u1\nNA", ["u1", "NA"]),
    Listed("a user that is not there", "users.txt, line 2: user 'u2' is not in data set 'shop'", b"u1\nu2\n"),
    Listed("a header", "users.txt, line 1: user 'user_id:token' is not in data set 'shop'", b"user_id:token\nu1\n"),
    Listed("another encoding", "users.txt, line 2, byte 2: no utf-8 text (invalid continuation byte); save the file as "
           "UTF-8", b"u1\nn\xe9\n"),
    Listed("blank lines alone", "users.txt names no user; write one id a line", b"\n \n"),
]  # fmt: skip
