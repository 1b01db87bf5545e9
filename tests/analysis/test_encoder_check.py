"""What is said of an encoder that did not make the data set's features."""

from __future__ import annotations

import numpy as np
import pytest

from recbole_mm.analysis.attribution.becam import Attribution
from recbole_mm.analysis.attribution.encoder_check import doubts


def doubts_of(cosine: float, lengths: list[float]) -> str:
    result = Attribution("BM3 + lora", "i0", *[np.empty(0)] * 3, cosine, np.array(lengths))
    return "; ".join(doubts([result], ["BM3 + lora"]))


@pytest.mark.parametrize("lengths", [[10.0, 10.0], [1.05, 1.0], [1.0, 1.0]])
def test_the_one_that_made_them_is_not_doubted(lengths):
    assert doubts_of(0.95, lengths) == ""


def test_another_direction():
    assert "unlike the data set's (median cosine 0.10)" in doubts_of(0.1, [1.0, 1.0])


def test_another_length():
    text = doubts_of(1.0, [1.0, 100.0])
    assert "are 0.01 times as long as the data set's" in text
    assert "normalize_feature" not in text


def test_rows_of_length_one_name_the_key():
    assert "train with normalize_feature: True" in doubts_of(1.0, [10.5, 1.0])


def test_items_without_features():
    assert "cannot be checked" in doubts_of(np.nan, [1.0, np.nan])
