"""Folders that a run writes to."""

from __future__ import annotations

from pathlib import Path

import pytest

from recbole_mm.io.folders import make_run_folder


def test_a_folder_is_made_and_left_empty(tmp_path):
    make_run_folder(tmp_path / "a" / "b", "log_dir")
    assert list((tmp_path / "a" / "b").iterdir()) == []


@pytest.mark.parametrize("folder", ["file", "file/below", "/proc/nowhere"])
def test_a_folder_that_cannot_be_written_to(tmp_path, folder):
    (tmp_path / "file").touch()
    with pytest.raises(OSError) as error:
        make_run_folder(tmp_path / Path(folder), "log_dir")
    assert str(error.value).startswith(f"log_dir: nothing can be written to {tmp_path / Path(folder)} (")
