"""The text form of a feature file: read exactly, and every bad line named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recbole_mm.data.feature_file import read_features, write_text
from recbole_mm.data.file_form import FileForm

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


def any_float32(rows: int, width: int) -> np.ndarray:
    """Finite float32 of every magnitude: random bit patterns, subnormals included."""
    bits = np.random.default_rng(3).integers(0, 2**32, size=4 * rows * width, dtype=np.uint32)
    values = bits.view(np.float32)
    return values[np.isfinite(values)][: rows * width].reshape(rows, width)


def test_text_is_read_as_written(folder):
    path = write_lines(folder, "b\t1.5 -2e+3 +0.25\n\nö 2\t 4  5 6 \r\n")
    table = read_features(folder, "toy", "visual")
    assert table.ids == ["b", "ö 2"]
    assert table.path == path
    assert table.values.dtype == np.float32
    np.testing.assert_array_equal(table.values, [[1.5, -2000, 0.25], [4, 5, 6]])


def test_text_round_trip_is_exact_in_float32(folder):
    values = any_float32(300, 40)
    ids = [f"item {row}" for row in range(300)]
    write_text(folder / "toy.visual", "visual", ids, values)
    table = read_features(folder, "toy", "visual")
    assert table.ids == ids
    np.testing.assert_array_equal(table.values.view(np.uint32), values.view(np.uint32))
    assert (folder / "toy.visual").read_text().startswith(HEADER)


def test_text_larger_than_a_block_is_read_whole(folder, monkeypatch):
    monkeypatch.setattr("recbole_mm.data.text_form.BLOCK_BYTES", 64)
    values = np.arange(600, dtype=np.float32).reshape(100, 6)
    write_text(folder / "toy.visual", "visual", [str(row) for row in range(100)], values)
    np.testing.assert_array_equal(read_features(folder, "toy", "visual").values, values)
    with (folder / "toy.visual").open("a") as file:
        file.write("x\t1 2 3 4 5\n")
    with pytest.raises(ValueError, match="line 102: 5 values where line 2 has 6"):
        read_features(folder, "toy", "visual")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\t1 2\n\nb\t1 2 3\n", "line 4: 3 values where line 2 has 2"),
        ("a\t1 2\nb\t\n", "line 3: no values"),
        ("a\t\n", "line 2: no values"),
        ("a\t1 2\nb\t1 two\n", "line 3: value 2 is 'two', which is no number"),
        ("a\t1 2\t3\n", r"line 2: value 2 is '2\\t3', which is no number"),
        ("a\t1 2\nb\t1 nan\n", "line 3: item 'b' holds a value that is not finite"),
        ("a\t1 inf\n", "line 2: item 'a' holds a value that is not finite"),
        ("a\t1 1e40\n", "line 2: item 'a' holds a value that is not finite"),
        ("a\t1 2\nb\t0 1e-400\n", "line 3: 1e-400 is read as 0, as numbers end at 1e-308"),
        ("a\t1 2\nb\t-1e400 nan\n", "line 3: -1e400 is read as -inf, as numbers end at 1e-308"),
        ("a\t1 2\nb\t3 4\na\t1 3\n", "item 'a' has different features in line 2 and line 4"),
        ("a 1 2\n", "line 2: expected an item id"),
        ("a\t1 2\n\t3 4\n", "line 3: expected an item id"),
        ("", "holds no rows under its header"),
        ("\n \n", "holds no rows under its header"),
    ],
)
def test_bad_text_names_file_and_line(folder, text, message):
    path = write_lines(folder, text)
    with pytest.raises(ValueError, match=message) as error:
        read_features(folder, "toy", "visual")
    assert str(path) in str(error.value)


def test_numbers_that_float32_rounds_to_nothing_are_read(folder):
    """As in features that are binary: a share of 1e-50 is a zero of float32, and no slip."""
    write_lines(folder, "a\t1e-50 0\nb\t-0.0 0e-400\n")
    np.testing.assert_array_equal(read_features(folder, "toy", "visual").values, np.zeros((2, 2)))


def test_text_in_another_encoding_is_an_error(folder):
    write_lines(folder, "a\t1\nö\t2\n", encoding="latin-1")
    with pytest.raises(ValueError, match="line 3, byte 1: no utf-8 text"):
        read_features(folder, "toy", "visual")


@pytest.mark.parametrize("header", ["", "item_id:token\n", "item_id,visual\n", "item_id:token\tv:float\n"])
def test_bad_header_is_an_error(folder, header):
    (folder / "toy.visual").write_text(header)
    with pytest.raises(ValueError, match="toy.visual is empty|toy.visual, line 1: the header must be"):
        read_features(folder, "toy", "visual")


def test_equal_rows_of_an_item_are_one(folder):
    write_lines(folder, "a\t1 2\nb\t3 4\na\t1.0 2.0\n")
    table = read_features(folder, "toy", "visual")
    assert table.ids == ["a", "b"]
    np.testing.assert_array_equal(table.values, [[1, 2], [3, 4]])


@pytest.mark.parametrize("separator", [",", ";", ":", "i"])
def test_a_separator_that_is_not_the_files_is_named(folder, separator):
    path = write_lines(folder, "a,b\t1 2\n")
    with pytest.raises(ValueError, match=f"^field_separator: '{separator}' separates no columns of {path}, .* tabs"):
        read_features(folder, "toy", "visual", FileForm(separator=separator))


def test_a_separator_of_values_that_is_not_the_files_is_named(folder):
    write_lines(folder, "a\t1.5 2.5\n")
    with pytest.raises(ValueError, match=r"line 2: value 1 is '1\.5 2\.5', .*and seq_separator is set to another"):
        read_features(folder, "toy", "visual", FileForm(seq_separator=","))
