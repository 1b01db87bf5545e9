"""Folders that a run writes to, looked at before it begins."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from recbole_mm.io.files import check_folder_writable

_OF_TRAINING = ("checkpoint_dir", "log_dir", "tensorboard_dir", "graph_dir")


def make_run_folders(config: Any, *, but: str | None = None) -> None:
    """Make the folders that a training writes to, by its configuration; raises as :func:`make_run_folder`.

    Args:
        config: RecBole's Config of the training.
        but: a key whose folder is chosen later.
    """
    for key in _OF_TRAINING:
        if key != but and config[key]:
            make_run_folder(config[key], key)


def make_run_folder(folder: str | Path, key: str) -> None:
    """Make a folder, where it is not there; raises OSError naming the key that sets it where nothing can be written."""
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        check_folder_writable(folder)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else error
        raise OSError(f"{key}: nothing can be written to {folder} ({reason}); set another folder") from error
