"""The plans of the comparison benchmark."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest


@pytest.fixture
def compare(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "benchmarks"))
    import compare

    yield compare
    sys.modules.pop("compare")


def test_margo_is_compared_with_its_first_stage_and_shown_beside_its_backbone(compare):
    ((base, *others),) = compare.margo(["visual", "textual"])
    assert base[1:] == ("MARGO", {"item_weights": False})
    assert ("DRAGON", {}) in [row[1:] for row in others]
