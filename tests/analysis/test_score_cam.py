"""The functions of BeCAM, against values by hand and against loops."""

from __future__ import annotations

import pytest
import torch

from recbole_mm.analysis.attribution.score_cam import (
    area_under,
    attribution_map,
    centred,
    masked_features,
    min_max,
    perturbed,
    upsample,
    varying_channels,
)


def total_colour(pictures: torch.Tensor) -> torch.Tensor:
    return pictures.sum(dim=(2, 3))


def test_upsampling_is_bilinear_between_pixel_centres():
    """From 2 to 4 pixels the centres lie at -1/4, 1/4, 3/4 and 5/4 of the way; beyond the ends the end's value."""
    rows = upsample(torch.tensor([[[0.0, 4.0]]]), (1, 4))
    assert rows.tolist() == [[[0.0, 1.0, 3.0, 4.0]]]


def test_min_max():
    scaled = min_max(torch.tensor([[[1.0, 2.0, 5.0]], [[3.0, 3.0, 3.0]]]))
    torch.testing.assert_close(scaled, torch.tensor([[[0.0, 0.25, 1.0]], [[0.0, 0.0, 0.0]]]))


def test_constant_channels_mask_nothing():
    activation = torch.stack([torch.eye(2), torch.full((2, 2), 7.0), torch.zeros(2, 2)])
    assert varying_channels(activation).tolist() == [True, False, False]


@pytest.mark.parametrize("batch", [1, 2, 32])
def test_masked_features_of_any_batch(batch):
    """Channels on the left and on the right of 2 pixels show the left and the right pixel."""
    pixels = torch.tensor([[[1.0, 10.0]], [[2.0, 20.0]], [[3.0, 30.0]]])
    activation = torch.tensor([[[5.0, -5.0]], [[-1.0, 1.0]], [[2.0, 4.0]]])
    features = masked_features(total_colour, pixels, activation, batch)
    torch.testing.assert_close(features, torch.tensor([[1.0, 2, 3], [10, 20, 30], [10, 20, 30]]))


def test_map_is_the_weighted_sum_and_centred_weights_leave_out_what_channels_share():
    activation = torch.tensor([[[1.0, 2.0]], [[3.0, 4.0]]])
    weights = torch.tensor([0.5, 1.0])
    assert attribution_map(weights, activation).tolist() == [[3.5, 5.0]]
    assert attribution_map(centred(weights), activation).tolist() == [[0.5, 0.5]]


def test_deletion_and_insertion_take_the_most_important_first():
    pixels = torch.tensor([1.0, 2.0, 4.0, 8.0]).view(1, 2, 2).expand(3, 2, 2)
    importance = torch.tensor([[0.3, 0.1], [0.4, 0.2]])  # 4, then 1, then 8, then 2
    shown = torch.cat(list(perturbed(pixels, importance, steps=4, batch=3)))[:, 0].sum(dim=(1, 2))
    assert shown.tolist() == [15, 11, 10, 2, 0, 0, 4, 5, 13, 15]


def test_pixels_go_in_equal_steps_and_equal_ones_in_reading_order():
    pixels = torch.ones(3, 2, 4)
    shown = torch.cat(list(perturbed(pixels, torch.zeros(1, 1), steps=3, batch=100)))
    assert shown[:4, 0].sum(dim=(1, 2)).tolist() == [8, 5, 3, 0]  # 8 / 3 and 16 / 3 gone, rounded
    assert shown[5, 0].tolist() == [[1, 1, 1, 0], [0, 0, 0, 0]]


def test_area_is_that_of_trapezia():
    curves = torch.tensor([[1.0, 0.5, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 0.0]])
    assert area_under(curves).tolist() == [0.5, 1.0, 0.5]
