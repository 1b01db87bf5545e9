"""The checks that both forms share, and the copy into aligned rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recbole_mm.data.feature_file import read_features, write_arrow, write_text
from recbole_mm.data.feature_table import collapse_duplicates, first_non_finite


@pytest.fixture
def folder(tmp_path) -> Path:
    path = tmp_path / "toy"
    path.mkdir()
    return path


@pytest.mark.parametrize(
    ("ids", "values", "message"),
    [
        (["a"], np.ones((2, 2)), "2 rows of features for 1 item id;"),
        (["a"], np.ones(2), r"must be a table of numbers \[items, width\]"),
        ([], np.ones((0, 2)), "must be a table of numbers"),
        (["a"], np.array([["x"]]), "must be a table of numbers"),
        (["a", "b"], np.array([[1.0], [np.inf]]), r"row 1 \(item 'b'\) holds a value that is not finite"),
        (["a"], np.array([[1e300]]), "not finite as float32"),
        (["a", "a"], np.array([[1.0], [2.0]]), "'a' has different features in row 0 and row 1"),
        (["a", "b\tc"], np.ones((2, 1)), "the item id of row 1"),
        (["", "b"], np.ones((2, 1)), "the item id of row 0"),
    ],
)
def test_bad_features_are_never_written(folder, ids, values, message):
    with pytest.raises(ValueError, match=message):
        write_arrow(folder / "toy.visual.arrow", ids, values)
    with pytest.raises(ValueError, match=message):
        write_text(folder / "toy.visual", "visual", ids, values)
    assert list(folder.iterdir()) == []


def test_rows_are_copied_to_their_places(folder, monkeypatch):
    monkeypatch.setattr("recbole_mm.data.feature_table.BLOCK_VALUES", 6)
    values = np.arange(20, dtype=np.float16).reshape(10, 2)
    write_arrow(folder / "toy.visual.arrow", [str(row) for row in range(10)], values)
    out = np.zeros((12, 2), dtype=np.float32)
    rows, positions = np.array([9, 0, 4, 5, 8]), np.array([1, 2, 11, 4, 6])
    read_features(folder, "toy", "visual").copy_into(out, positions, rows)
    np.testing.assert_array_equal(out[positions], values[rows])
    assert not out[[0, 3, 5, 7, 8, 9, 10]].any()


def test_non_finite_is_found_in_any_block(monkeypatch):
    monkeypatch.setattr("recbole_mm.data.feature_table.BLOCK_VALUES", 4)
    values = np.zeros((7, 2), np.float16)
    assert first_non_finite(values) is None
    values[6, 1] = np.inf
    assert first_non_finite(values) == 6
    values[3, 0] = np.nan
    assert first_non_finite(values) == 3


def test_equal_duplicates_keep_the_first_order():
    values = np.array([[1.0], [2.0], [1.0], [3.0]])
    ids, kept = collapse_duplicates(["b", "a", "b", "c"], values, Path("f"), str)
    assert ids == ["b", "a", "c"]
    np.testing.assert_array_equal(kept, [[1], [2], [3]])
