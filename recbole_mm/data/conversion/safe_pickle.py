"""Sparse matrices out of pickles of scipy's, without running anything that a pickle may ask for.

Nothing of scipy or numpy is called while the pickle is read: the few classes and functions that a sparse matrix needs,
by name, are replaced by inert ones that keep what they are given, and every other name is refused. The arrays are then
made of the bytes that were kept, of plain number types alone.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from recbole_mm.io.errors import one_line
from recbole_mm.io.reading import open_regular

_FORMATS = tuple(f"{form}_{kind}" for form in ("coo", "csr", "csc") for kind in ("matrix", "array"))
_KINDS = "biuf"


class _Kept:
    """What a pickle makes an object of."""

    def __init__(self, *arguments: Any):
        self.arguments = arguments
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Matrix(_Kept):
    form = ""


class _Dtype(_Kept):
    def number_type(self) -> np.dtype:
        """Byte order, kind and size: the state of a dtype begins (version, order, ...)."""
        text = self.arguments[0]
        text = text.decode("latin1") if isinstance(text, bytes) else text
        order = self.state[1] if isinstance(self.state, tuple) else "<"
        order = order.decode("latin1") if isinstance(order, bytes) else order
        if not isinstance(text, str) or text[:1] not in _KINDS or order not in ("<", ">", "|", "="):
            raise ValueError(f"an array of {text!r}, not of numbers")
        return np.dtype(text).newbyteorder(cast(Literal["<", ">", "|", "="], order))


class _Array(_Kept):
    def values(self) -> np.ndarray:
        """What the bytes that were kept mean."""
        if self.state is None:  # protocol 5: _frombuffer(buffer, dtype, shape, order)
            data, dtype, shape, order = self.arguments
        else:
            _, shape, dtype, fortran, data = self.state
            order = "F" if fortran else "C"
        if isinstance(data, str):
            data = data.encode("latin1")
        return np.frombuffer(data, dtype.number_type()).reshape(tuple(int(length) for length in shape), order=order)


class _Scalar(_Kept):
    def __int__(self) -> int:
        dtype, data = self.arguments
        data = data.encode("latin1") if isinstance(data, str) else data
        if dtype.number_type().kind not in "iu":
            raise ValueError(f"a number of {dtype.number_type()} where an integer belongs")
        return int(np.frombuffer(data, dtype.number_type())[0])


class _Call:
    """A function for one pickle, which cannot set its attributes, as it could those of a function of ours."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]):
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("sets attributes of a function")


def _reconstruct(kind: Any, *_: Any) -> Any:
    """Of copyreg: a new object of a class, without its constructor."""
    if not (isinstance(kind, type) and issubclass(kind, _Kept)):
        raise pickle.UnpicklingError("asks for an object of no sparse matrix")
    return kind()


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    """Of _codecs: how the protocols before 3 write bytes."""
    if not isinstance(text, str) or encoding != "latin1":
        raise pickle.UnpicklingError("asks for an encoding of no sparse matrix")
    return text.encode("latin1")


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """An inert stand-in for what a sparse matrix needs."""
        numpy_parts = ("numpy", "numpy.core.multiarray", "numpy._core.multiarray", "numpy.core.numeric",
                       "numpy._core.numeric")  # fmt: skip
        if name in _FORMATS and (module == "scipy.sparse" or module.startswith("scipy.sparse.")):
            return type(name, (_Matrix,), {"form": name[:3]})
        if module in numpy_parts and name in ("ndarray", "_reconstruct", "_frombuffer"):
            return _Array
        if module in numpy_parts and name in ("dtype", "scalar"):
            return _Dtype if name == "dtype" else _Scalar
        if (module, name) == ("_codecs", "encode"):
            return _Call(_encode)
        if (module, name) in (("copyreg", "_reconstructor"), ("copy_reg", "_reconstructor")):
            return _Call(_reconstruct)
        if (module, name) in (("builtins", "object"), ("__builtin__", "object")):
            return _Kept
        if name.partition("_")[0] in ("dok", "lil", "dia", "bsr") and module.startswith("scipy.sparse"):
            raise pickle.UnpicklingError(f"it is a {name}; save it as COO, CSR or CSC, such as with MATRIX.tocsr()")
        raise pickle.UnpicklingError(f"asks for {module}.{name}, which no sparse matrix of numbers needs")


def read_sparse_pickle(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[int, int]]:
    """Rows, columns and values `[n]` of the entries of a pickled sparse matrix that are not zero, and its shape.

    Raises:
        OSError: it is no regular file.
        ValueError: it is no pickle of a scipy.sparse matrix (COO, CSR or CSC) of numbers; names the file, and what
            else it asks for.
    """
    with open_regular(path) as file:
        try:
            matrix = _Unpickler(file, encoding="latin1").load()
            if not isinstance(matrix, _Matrix) or not isinstance(matrix.state, dict):
                raise ValueError("holds no sparse matrix (COO, CSR or CSC)")
            return _entries(matrix)
        except Exception as error:  # whatever a damaged or hostile file leads pickle and the shapes to
            raise ValueError(
                f"{path} is no pickle of a scipy.sparse matrix of numbers, and is not opened further "
                f"({one_line(error) or type(error).__name__})"
            ) from error


def _entries(matrix: _Matrix) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[int, int]]:
    state = matrix.state
    n_rows, n_columns = (_whole(length) for length in state["_shape"])
    values = state["data"].values()
    if matrix.form == "coo":
        rows, columns = (axis.values() for axis in state["coords"]) if "coords" in state else (
            state["row"].values(), state["col"].values())  # fmt: skip
    else:
        outer, inner = _expanded(state["indptr"].values(), len(values)), state["indices"].values()
        rows, columns = (outer, inner) if matrix.form == "csr" else (inner, outer)
    if not (rows.shape == columns.shape == values.shape and rows.ndim == 1):
        raise ValueError(f"{len(rows)} rows, {len(columns)} columns and {len(values)} values")
    for positions, size in ((rows, n_rows), (columns, n_columns)):
        if positions.dtype.kind not in "iu":
            raise ValueError(f"positions of {positions.dtype}, not integers")
        if len(positions) and not 0 <= positions.min() <= positions.max() < size:
            raise ValueError(f"a position outside of the shape {n_rows} x {n_columns}")
    filled = values != 0
    return rows[filled].astype(np.int64), columns[filled].astype(np.int64), values[filled], (n_rows, n_columns)


def _whole(value: Any) -> int:
    if not isinstance(value, int | _Scalar):
        raise ValueError(f"a shape of {value!r}, not of integers")
    return int(value)


def _expanded(starts: np.ndarray, n_entries: int) -> np.ndarray:
    """The number of each entry's row, of the starts of the rows."""
    counts = np.diff(starts.astype(np.int64) if starts.dtype.kind in "iu" else starts)
    whole = starts.ndim == 1 and starts.dtype.kind in "iu" and starts[0] == 0 and starts[-1] == n_entries
    if not whole or (counts < 0).any():
        raise ValueError("its indptr is none")
    return np.repeat(np.arange(len(counts)), counts)
