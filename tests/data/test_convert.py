"""Features from arrays and from text: what is written is what was read, and bad input writes nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recbole_mm.data.convert import convert_arrow, convert_npy
from recbole_mm.data.feature_file import read_features, write_text


@pytest.fixture
def array(tmp_path) -> dict:
    """Arguments of convert_npy for three items, the second without features."""
    dataset = tmp_path / "toy"
    dataset.mkdir()
    np.save(tmp_path / "f.npy", np.array([[1, 2], [0, 0], [3, 4]], np.float16))
    (tmp_path / "ids.txt").write_text("a\nb\r\nc\n")
    return {
        "features": tmp_path / "f.npy",
        "ids": tmp_path / "ids.txt",
        "modality": "visual",
        "dataset_dir": dataset,
    }


def test_npy_becomes_a_modality(array):
    path = convert_npy(**array, encoder="ViT")
    assert path == array["dataset_dir"] / "toy.visual.arrow"
    table = read_features(array["dataset_dir"], "toy", "visual")
    assert (table.ids, table.encoder, table.source) == (["a", "b", "c"], "ViT", "f.npy")
    assert table.values.dtype == np.float16
    np.testing.assert_array_equal(table.values, [[1, 2], [0, 0], [3, 4]])


def test_rows_of_zeros_may_stand_for_missing_items(array):
    convert_npy(**array, zero_rows="missing")
    table = read_features(array["dataset_dir"], "toy", "visual")
    assert table.ids == ["a", "c"]
    np.testing.assert_array_equal(table.values, [[1, 2], [3, 4]])
    np.save(array["features"], np.zeros((3, 2)))
    with pytest.raises(ValueError, match="f.npy holds nothing but zeros"):
        convert_npy(**array, zero_rows="missing")


def test_dataset_folder_may_be_the_working_directory(array, monkeypatch):
    monkeypatch.chdir(array["dataset_dir"])
    assert (
        convert_npy(**array | {"dataset_dir": Path(".")}).resolve()
        == array["dataset_dir"] / "toy.visual.arrow"
    )


@pytest.mark.parametrize("modality", ["inter", "item", "Visual", "a.b", "1st", "", "a b"])
def test_a_modality_needs_a_name_that_can_be_a_suffix(array, modality):
    with pytest.raises(ValueError, match="cannot name a modality"):
        convert_npy(**array | {"modality": modality})


def test_bad_arrays_and_ids_are_errors(array, tmp_path):
    (tmp_path / "two.txt").write_text("a\nb\n")
    (tmp_path / "gap.txt").write_text("a\n\nc\n")
    np.savez(tmp_path / "several.npz", a=np.ones((3, 2)), b=np.ones((3, 2)))
    np.save(tmp_path / "nan.npy", np.array([[1, 2], [0, np.nan], [3, 4]]))
    cases = [
        ({"ids": tmp_path / "two.txt"}, ValueError, "f.npy: 3 rows of features for 2 item ids"),
        ({"ids": tmp_path / "gap.txt"}, ValueError, "gap.txt, line 2: no item id"),
        ({"ids": tmp_path / "no.txt"}, FileNotFoundError, "no file .*no.txt"),
        ({"ids": array["features"]}, ValueError, "f.npy, line 1, byte 1: no utf-8 text"),
        ({"features": tmp_path / "no.npy"}, FileNotFoundError, "no feature file .*no.npy"),
        ({"features": array["ids"]}, ValueError, "ids.txt is text, such as a CSV table"),
        ({"features": tmp_path / "several.npz"}, ValueError, "is an archive of a, b; save the one array"),
        ({"features": tmp_path / "nan.npy"}, ValueError, r"nan.npy: row 1 \(item 'b'\)"),
        ({"dataset_dir": tmp_path / "none"}, FileNotFoundError, "there is no folder .*none"),
    ]
    for change, kind, message in cases:
        with pytest.raises(kind, match=message):
            convert_npy(**array | change)
    assert list(array["dataset_dir"].iterdir()) == []


def test_duplicate_ids_with_different_rows_are_an_error(array):
    array["ids"].write_text("a\nb\na\n")
    with pytest.raises(ValueError, match="f.npy: item 'a' has different features in row 0 and row 2"):
        convert_npy(**array)


def test_npy_does_not_hide_an_existing_text_form(array):
    text = array["dataset_dir"] / "toy.visual"
    write_text(text, "visual", ["a"], np.ones((1, 2)))
    with pytest.raises(ValueError, match="toy.visual holds this modality already, as text"):
        convert_npy(**array)


def test_arrow_needs_a_text_form(array):
    write_text(array["dataset_dir"] / "toy.textual", "textual", ["a"], np.ones((1, 2)))
    with pytest.raises(FileNotFoundError, match="there is no text form .*toy.visual to convert.*: textual"):
        convert_arrow(array["dataset_dir"], "visual")
