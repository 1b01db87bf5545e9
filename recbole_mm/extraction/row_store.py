"""Finished feature rows on disk, so that a killed extraction goes on where it was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from recbole_mm.io.errors import naming
from recbole_mm.io.files import atomic_file
from recbole_mm.io.reading import read_npz
from recbole_mm.io.temporaries import delete

Key = tuple[str, str]  # item id and digest of its content


class RowStore:
    """Rows in one file per batch, each written to the end before it gets its name.

    A row is found again by the item and the digest of its content: one whose picture has changed since is computed
    again. Rows of other settings are in another folder.

    Args:
        folder: of the data set; the store is a hidden folder in it.
        label: what the rows are of, such as ``toys.visual``.
        settings: all that the rows depend on beside the content, as JSON values.

    Attributes:
        truncated: how many of the contents were longer than the encoder's context.
    """

    def __init__(self, folder: Path, label: str, settings: dict[str, Any]):
        key = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()
        self._of_label = f".{label}.extracting-"
        self.folder = folder / f"{self._of_label}{key[:12]}"
        with naming(self.folder):
            self.folder.mkdir(exist_ok=True)
        self._rows: dict[Key, np.ndarray] = {}
        self._next = self.truncated = 0
        for file in sorted(self.folder.glob("[0-9]*.npz")):
            self._read(file)
            self._next = max(self._next, int(file.stem) + 1)

    def _read(self, file: Path) -> None:
        try:
            stored = read_npz(file)
            keys = zip(stored["items"].tolist(), stored["digests"].tolist(), strict=True)
            rows = dict(zip(keys, stored["rows"], strict=True))
            truncated = int(stored["truncated"])
        except (OSError, ValueError, KeyError, TypeError):
            delete(file)  # damaged by a crash of the machine: its rows are computed again
            return
        self._rows |= rows
        self.truncated += truncated

    def __contains__(self, key: object) -> bool:
        return key in self._rows

    def __getitem__(self, key: Key) -> np.ndarray:
        return self._rows[key]

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Key]:
        return iter(self._rows)

    def add(self, keys: list[Key], rows: np.ndarray, truncated: int = 0) -> None:
        """Keep the rows ``[n, width]`` of a batch, of whose contents some were longer than the context."""
        items, digests = (np.array(part) for part in zip(*keys, strict=True))
        # the file object, as numpy adds a suffix to a name that lacks it
        with atomic_file(self.folder / f"{self._next:08d}.npz") as temporary, temporary.open("wb") as file:
            np.savez(file, items=items, digests=digests, rows=rows, truncated=truncated)
        self._next += 1
        self.truncated += truncated
        self._rows |= zip(keys, rows, strict=True)

    def delete(self) -> None:
        """Remove it from disk, once the rows are in the feature file, and the stores of other settings with it."""
        for folder in self.folder.parent.iterdir():
            if folder.name.startswith(self._of_label):
                delete(folder)
