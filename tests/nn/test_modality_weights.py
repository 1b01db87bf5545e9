"""The weights of fixed modality fusion."""

from __future__ import annotations

import pytest

from recbole_mm.nn.modality_weights import modality_weights


@pytest.mark.parametrize(
    "weights, modalities, expected",
    [
        (None, ["visual", "textual"], [0.1, 0.9]),
        (None, ["textual", "visual"], [0.9, 0.1]),
        (None, ["textual", "acoustic"], [0.5, 0.5]),
        (None, ["visual"], [1.0]),
        (None, ["visual", "textual", "acoustic", "video"], [0.25] * 4),
        ([2, 3.5], ["visual", "textual"], [2.0, 3.5]),
        ([0, 1], ["visual", "textual"], [0.0, 1.0]),
    ],
)
def test_weights(weights, modalities, expected):
    assert modality_weights(weights, modalities, visual=0.1) == expected


@pytest.mark.parametrize("weights", [[1.0], [1, 2, 3], 0.1, "0.1"])
def test_another_number_of_weights_than_modalities(weights):
    with pytest.raises(ValueError, match=r"modality_weights: .* one number for each of visual, textual"):
        modality_weights(weights, ["visual", "textual"], visual=0.1)


@pytest.mark.parametrize("weights", [[0.0, 0.0], {"visual": 0, "textual": 0}])
def test_weights_that_leave_nothing(weights):
    with pytest.raises(ValueError, match=r"modality_weights: .* are all 0; give one that is not$"):
        modality_weights(weights, ["visual", "textual"], visual=0.1)
