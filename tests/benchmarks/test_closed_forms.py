"""The benchmark of closed forms solves and evaluates them in an interpreter of its own."""

from __future__ import annotations

import closed_forms
import harness
import pytest


@pytest.mark.parametrize("model", ["ContentKNN", "ContentEASE"])
def test_a_row(tmp_path, model):
    folder = harness.shaped_data("tmall", 0.02, tmp_path)
    row = harness.call_alone(closed_forms.measure, model=model, folder=folder, rate_rows=256)
    assert row["items"] == 156  # of 7,848
    assert row["ratio"] == pytest.approx(row["seconds"] / row["floor"]) and row["floor"] > 0
    assert 0 < row["above_import"] < row["peak"] < 8


def test_operations_by_hand():
    """Of 3 items and features of width 2 and 5: 9 products of 2 and 5 numbers; half of them and 27 for the inverse."""
    assert closed_forms.operations("ContentKNN", 3, [2, 5]) == 2 * 9 * 7
    assert closed_forms.operations("ContentEASE", 3, [2, 5]) == 9 * 7 + 27
