"""Folders that have the names of a data set's files."""

from __future__ import annotations

from pathlib import Path

import pytest

from recbole_mm.data.feature_file import find_modalities, read_features
from recbole_mm.data.file_form import FileForm
from recbole_mm.data_folders import settings_file
from recbole_mm.quick_start import main


@pytest.fixture
def toys(tmp_path) -> Path:
    folder = tmp_path / "toys"
    folder.mkdir()
    (folder / "toys.inter").write_text("user_id:token\titem_id:token\nu\ta\nv\tb\n")
    (folder / "toys.visual").write_text("item_id:token\tvisual:float_seq\na\t1 2\nb\t3 4\n")
    return folder


@pytest.mark.parametrize("name", ["toys.item", "toys.user", "toys.visual.arrow", "toys.yaml"])
def test_a_folder_in_the_place_of_a_file_is_refused(toys, name, capsys):
    (toys / name).mkdir()
    assert main(["--model=VBPR", "--dataset=toys", f"--data_path={toys.parent}"]) == 2
    assert f"error: {toys / name} is a folder, so it cannot be read; restore the file" in capsys.readouterr().err
    with pytest.raises(ValueError, match=f"{name} is a folder"):
        settings_file("toys", toys.parent)


def test_readers_of_one_file_refuse_a_folder(toys):
    (toys / "toys.visual.arrow").mkdir()
    with pytest.raises(ValueError, match=r"toys\.visual\.arrow is a folder"):
        read_features(toys, "toys", "visual")
    (toys / "toys.visual.arrow").rmdir()
    (toys / "toys.yaml").mkdir()
    with pytest.raises(ValueError, match=r"toys\.yaml is a folder"):
        FileForm.of_folder(toys)


def test_folders_of_other_names_are_left_alone(toys):
    (toys / "toys.images").mkdir()
    (toys / "notes.item").mkdir()
    assert settings_file("toys", toys.parent) is None
    assert "images" not in find_modalities(toys, "toys", FileForm())
