"""Folders that a run writes to, looked at before it begins."""

from __future__ import annotations

import tempfile
from pathlib import Path


def check_writable(folder: str | Path, key: str) -> None:
    """Raise OSError, naming the key that sets `folder`, where it cannot be made or no file can be written to it."""
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(4096))  # more than none, which a full disk takes
    except OSError as error:
        raise OSError(f"{key}: nothing can be written to {folder} ({error.strerror}); set another folder") from error
