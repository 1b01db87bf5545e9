"""Graphs kept on disk, so that a search over other settings does not build them again."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from recbole_mm.io.errors import naming
from recbole_mm.io.files import atomic_file
from recbole_mm.io.locks import waiting_lock
from recbole_mm.io.reading import read_npz

Made = TypeVar("Made")
FORMAT = 1
_writes: ContextVar[bool] = ContextVar("writes", default=True)


class GraphCache:
    """Arrays on disk under the hash of everything they were computed from.

    A file name is a hash of the inputs' bytes and of every parameter, so that a changed feature, interaction or
    parameter never finds an old graph. Files are written beside their name and renamed, and a file that is damaged, or
    of which no graph can be made, is built again. Of several processes that ask for the same graph at once, one builds
    it and the others wait for its file. Within :func:`writing_nothing`, and one that was made within it, only reads.

    Args:
        folder: where the files lie; made on first use.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._writes = _writes.get()

    def get(
        self,
        kind: str,
        inputs: list[np.ndarray],
        parameters: dict[str, Any],
        build: Callable[[], dict[str, np.ndarray]],
        make: Callable[[dict[str, np.ndarray]], Made],
    ) -> Made:
        """What `make` makes of `build()`, which is on disk where the same inputs and parameters were seen before.

        Args:
            kind: name of the computation; part of the file name.
            inputs: arrays the result depends on.
            parameters: plain values the result depends on.
            build: computes the named arrays.
            make: raises KeyError, TypeError, ValueError or IndexError for other arrays, as somebody's file may hold.
        """
        file = self.folder / f"{kind}-{_key(kind, inputs, parameters)}.npz"
        made = _load(file, make)
        if made is not None:
            return made
        if not (self._writes and _writes.get()):
            return make(build())
        with naming(file):
            self.folder.mkdir(parents=True, exist_ok=True)
        with waiting_lock(file.with_name(f".{file.stem}.lock")):
            made = _load(file, make)
            return make(self._build(file, build)) if made is None else made

    def _build(self, file: Path, build: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        arrays = build()
        # the file object, as numpy adds a suffix to a name that lacks it
        with atomic_file(file) as temporary, temporary.open("wb") as sink:
            np.savez(sink, **arrays)  # type: ignore[arg-type]  # no array is called allow_pickle
        return arrays


@contextmanager
def writing_nothing() -> Iterator[None]:
    """Let models inside, and those that are made inside, read graphs that are there, and write none."""
    before = _writes.set(False)
    try:
        yield
    finally:
        _writes.reset(before)


def _load(file: Path, make: Callable[[dict[str, np.ndarray]], Made]) -> Made | None:
    """What is made of a file's arrays; None where it is absent, damaged, or holds what nothing can be made of."""
    try:
        arrays = read_npz(file)
        return make(arrays) if all(_is_finite(array) for array in arrays.values()) else None
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None


def _is_finite(array: np.ndarray) -> bool:
    return array.dtype.kind in "biu" or (array.dtype.kind == "f" and bool(np.isfinite(array).all()))


def _key(kind: str, inputs: list[np.ndarray], parameters: dict[str, Any]) -> str:
    digest = hashlib.blake2b(repr((FORMAT, kind, sorted(parameters.items()))).encode(), digest_size=16)
    for array in inputs:
        array = np.ascontiguousarray(array)
        digest.update(repr((array.dtype.str, array.shape)).encode())
        digest.update(array.data.cast("B") if array.size else b"")
    return digest.hexdigest()
