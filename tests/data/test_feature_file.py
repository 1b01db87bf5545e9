"""Finding the features of a data set, and choosing between their two forms."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import numpy as np
import pytest

from recbole_mm.data import convert
from recbole_mm.data.arrow_form import read_metadata
from recbole_mm.data.convert import convert_arrow
from recbole_mm.data.feature_file import find_modalities, read_features, write_arrow
from recbole_mm.data.file_form import FileForm
from recbole_mm.data.text_form import read_text
from recbole_mm.data.text_identity import TextFile

HEADER = "item_id:token\tvisual_feature:float_seq\n"


@pytest.fixture
def folder(tmp_path) -> Path:
    path = tmp_path / "toy"
    path.mkdir()
    return path


def write_lines(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "toy.visual"
    path.write_bytes((HEADER + text).encode(encoding))
    return path


def test_modalities_are_found_in_order_and_nothing_else_is_taken_for_one(folder):
    for suffix in ("inter", "item", "train.inter", "yaml", "item.arrow", "v2.visual.arrow"):
        (folder / f"toy.{suffix}").write_text("user_id:token\titem_id:token\n")
    (folder / "toy.ent").write_text("ent_id:token\tent_emb:float_seq\n")
    (folder / "toy.useremb").write_text("uid:token\tuser_emb:float_seq\nu1\t1 2\n")
    (folder / "toy.txt").write_text("0 1 2 3\n1 2 3\n")
    (folder / "toy.md").write_text("# Notes\n\n1 2 3\n")
    (folder / "other.visual").write_text(HEADER)
    for name in ("zeta", "visual", "acoustic"):
        (folder / f"toy.{name}").write_text(HEADER)
    for name in ("textual", "alpha", "visual"):
        write_arrow(folder / f"toy.{name}.arrow", ["a"], np.ones((1, 2)))
    assert find_modalities(folder, "toy") == ["visual", "textual", "acoustic", "alpha", "zeta"]


def test_item_field_and_separator_are_those_of_the_configuration(folder):
    (folder / "toy.visual").write_text("iid:token,v:float_seq\n7,1|2\n8,3|4\n")
    form = FileForm(item_field="iid", separator=",", seq_separator="|")
    assert find_modalities(folder, "toy", form) == ["visual"]
    table = read_features(folder, "toy", "visual", form)
    assert table.ids == ["7", "8"]
    np.testing.assert_array_equal(table.values, [[1, 2], [3, 4]])


def test_binary_is_read_while_the_text_is_the_one_it_was_made_from(folder):
    text = write_lines(folder, "a\t1 2\nb\t3 4\n")
    binary = convert_arrow(folder, "visual")
    assert read_features(folder, "toy", "visual").path == binary
    os.utime(text, ns=(1, 1))  # copied or checked out anew: another time, the same content
    assert read_features(folder, "toy", "visual").path == binary


def test_text_changed_with_size_and_time_kept_is_an_error(folder):
    text = write_lines(folder, "a\t1 2\nb\t3 4\n")
    os.utime(text, ns=(10**9, 10**9))
    age(text)
    convert_arrow(folder, "visual")
    assert read_features(folder, "toy", "visual").path.suffix == ".arrow"
    before = text.stat()
    change_one_digit(text)
    os.utime(text, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (text.stat().st_size, text.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    with pytest.raises(ValueError, match="has changed since"):
        read_features(folder, "toy", "visual")


def test_text_changed_right_after_its_conversion_is_an_error(folder):
    """Within one tick of the file system's clock nothing but the content differs, so that no status is noted."""
    text = write_lines(folder, "a\t1 2\nb\t3 4\n")
    convert_arrow(folder, "visual")
    assert "text_status" not in read_metadata(folder / "toy.visual.arrow")
    before = text.stat()
    change_one_digit(text)
    os.utime(text, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(ValueError, match="has changed since"):
        read_features(folder, "toy", "visual")


def test_text_is_hashed_only_where_its_status_is_not_as_noted(folder, monkeypatch):
    text = write_lines(folder, "a\t1 2\nb\t3 4\n")
    age(text)
    convert_arrow(folder, "visual")
    monkeypatch.setattr(TextFile, "hash", lambda self: pytest.fail("hashed"))
    read_features(folder, "toy", "visual")
    os.utime(text, ns=(1, 1))
    with pytest.raises(pytest.fail.Exception, match="hashed"):
        read_features(folder, "toy", "visual")


def test_text_that_changes_while_it_is_converted_is_an_error(folder, monkeypatch):
    def change_after_reading(path, form):
        table = read_text(path, form)
        change_one_digit(path)
        return table

    write_lines(folder, "a\t1 2\nb\t3 4\n")
    monkeypatch.setattr(convert, "read_text", change_after_reading)
    with pytest.raises(ValueError, match="toy.visual has changed while it was read; convert it again"):
        convert_arrow(folder, "visual")
    assert not (folder / "toy.visual.arrow").exists()


def test_a_binary_form_of_earlier_versions_is_hashed(folder):
    text = write_lines(folder, "a\t1 2\nb\t3 4\n")
    table = read_text(text)
    status = text.stat()
    noted = {"text_size": str(status.st_size), "text_mtime_ns": str(status.st_mtime_ns)}
    noted["text_sha256"] = hashlib.sha256(text.read_bytes()).hexdigest()
    write_arrow(folder / "toy.visual.arrow", table.ids, table.values, extra=noted)
    assert read_features(folder, "toy", "visual").path.suffix == ".arrow"
    change_one_digit(text)
    os.utime(text, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(ValueError, match="has changed since"):
        read_features(folder, "toy", "visual")


def age(path: Path) -> None:
    """Wait until the file is so old that another change of it would have another time."""
    while time.time_ns() - path.stat().st_ctime_ns <= 1.01e9:
        time.sleep(0.05)


def change_one_digit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-2] = ord("1") if content[-2] != ord("1") else ord("2")
    path.write_bytes(content)


def test_changed_text_is_an_error_until_it_is_converted_again(folder):
    text = write_lines(folder, "a\t1 2\nb\t3 4\n")
    binary = convert_arrow(folder, "visual")
    write_lines(folder, "a\t1 2\nb\t3 5\n")
    os.utime(text, ns=(1, 1))
    with pytest.raises(ValueError, match="has changed since") as error:
        read_features(folder, "toy", "visual")
    command = f"python -m recbole_mm convert arrow --dataset {folder} --modality visual"
    assert all(part in str(error.value) for part in (str(text), str(binary), command))
    convert_arrow(folder, "visual")
    np.testing.assert_array_equal(read_features(folder, "toy", "visual").values, [[1, 2], [3, 5]])


def test_binary_beside_a_text_it_was_not_made_from_is_an_error(folder):
    write_lines(folder, "a\t1 2\n")
    write_arrow(folder / "toy.visual.arrow", ["a"], np.ones((1, 2)))
    with pytest.raises(ValueError, match="was not made from .*convert arrow"):
        read_features(folder, "toy", "visual")


def test_unknown_modality_lists_those_there(folder):
    write_lines(folder, "a\t1 2\n")
    write_arrow(folder / "toy.textual.arrow", ["a"], np.ones((1, 2)))
    with pytest.raises(ValueError, match="unknown modality 'vsual'.*visual, textual; did you mean 'visual'"):
        read_features(folder, "toy", "vsual")


def test_absent_features_and_folders_are_errors(folder):
    with pytest.raises(FileNotFoundError, match=r"neither toy\.visual\.arrow nor toy\.visual"):
        read_features(folder, "toy", "visual")
    with pytest.raises(FileNotFoundError, match="there is no folder .*nowhere"):
        read_features(folder / "nowhere", "toy", "visual")
