"""Folders that a run writes to, looked at before it begins."""

from __future__ import annotations

import os
from pathlib import Path

from recbole_mm.io.files import check_folder_writable


def make_run_folder(folder: str | Path, key: str) -> None:
    """Make a folder, where it is not there; raises OSError naming the key that sets it where nothing can be written."""
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        check_folder_writable(folder)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else error
        raise OSError(f"{key}: nothing can be written to {folder} ({reason}); set another folder") from error
