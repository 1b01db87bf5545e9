"""Nothing half-written is ever found under a final name."""

from __future__ import annotations

import pytest

from recbole_mm.io.files import atomic_file


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "toy.visual.arrow"
    path.write_text("old")
    with pytest.raises(OSError, match="disk"), atomic_file(path) as temporary:
        temporary.write_text("half")
        raise OSError("disk full")
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["toy.visual.arrow"]
