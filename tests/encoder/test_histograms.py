"""Histograms of pictures that were drawn so that the right ones are known."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from recbole_mm.encoder.auto import load_image_encoder
from recbole_mm.encoder.histograms import CELLS, COLOURS, DIRECTIONS, HISTOGRAMS, PATTERNS, SIDE, WIDTH

N_COLOURS = int(np.prod(COLOURS))


def picture(red: np.ndarray, green: np.ndarray | None = None, blue: np.ndarray | None = None) -> Image.Image:
    channels = [red, red if green is None else green, red if blue is None else blue]
    return Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8))


def parts(image: Image.Image) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    row = load_image_encoder(HISTOGRAMS)([image])[0].numpy()
    assert row.shape == (WIDTH,) and row.dtype == np.float32
    edges = row[N_COLOURS + PATTERNS :].reshape(CELLS, CELLS, DIRECTIONS)
    return row[:N_COLOURS], row[N_COLOURS : N_COLOURS + PATTERNS], edges


def test_colours_are_roots_of_their_shares():
    left = np.zeros((SIDE, SIDE))
    left[:, : SIDE // 4] = 255
    colours, _, _ = parts(picture(left, 0 * left, 255 - left))  # a quarter red, the rest blue
    found = {np.unravel_index(place, COLOURS): colours[place] ** 2 for place in np.flatnonzero(colours)}
    assert found == {(0, 2, 2): pytest.approx(0.25), (5, 2, 2): pytest.approx(0.75)}


@pytest.mark.parametrize("grey, brightness", [(0, 0), (128, 1), (255, 2)])
def test_a_picture_of_one_grey(grey, brightness):
    colours, patterns, edges = parts(picture(np.full((60, 90), grey)))
    assert np.flatnonzero(colours).tolist() == [np.ravel_multi_index((0, 0, brightness), COLOURS)]
    assert patterns.tolist() == [0] * 8 + [1, 0] and not edges.any()


@pytest.mark.parametrize("is_upright, direction", [(True, 0), (False, DIRECTIONS // 2)])
def test_edges_have_their_direction_and_place(is_upright, direction):
    grey = np.zeros((SIDE, SIDE))
    grey[:, :16] = 200  # one edge at column 16, in the first of four cells
    _, _, edges = parts(picture(grey if is_upright else grey.T))
    assert {tuple(place) for place in np.argwhere(edges)} == {
        (cell, 0, direction) if is_upright else (0, cell, direction) for cell in range(CELLS)
    }
    np.testing.assert_allclose(edges[edges > 0] ** 2, 1 / CELLS, rtol=1e-6)


def test_patterns_are_counted_as_by_hand():
    grey = np.zeros((SIDE, SIDE))
    grey[::2, ::2] = 255  # bright dots on even rows and columns
    _, patterns, _ = parts(picture(grey))
    # of the inner 126 x 126 pixels a quarter are dots (no neighbour as bright), the others are dark: all neighbours are
    assert patterns**2 == pytest.approx([0.25, 0, 0, 0, 0, 0, 0, 0, 0.75, 0])


def test_patterns_are_those_of_plain_loops():
    grey = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE))
    _, patterns, _ = parts(picture(grey))
    image = np.asarray(picture(grey).convert("L")).astype(int)
    counts = [0] * PATTERNS
    for row in range(1, SIDE - 1):
        for column in range(1, SIDE - 1):
            circle = [(-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1)]
            bits = [int(image[row + y, column + x] >= image[row, column]) for y, x in circle]
            changes = sum(bits[k] != bits[k - 1] for k in range(8))
            counts[sum(bits) if changes <= 2 else 9] += 1
    np.testing.assert_allclose(patterns**2, np.array(counts) / sum(counts), rtol=1e-6)


def test_a_row_depends_on_its_picture_alone_and_sizes_do_not_matter():
    noise = np.random.default_rng(1).integers(0, 256, (40, 40))
    small, flat = picture(noise), picture(np.full((5, 300), 9))
    encoder = load_image_encoder(HISTOGRAMS)
    together = encoder([small, flat, small])
    np.testing.assert_array_equal(together[0], encoder([small])[0])
    np.testing.assert_array_equal(together[0], together[2])
    large = encoder([small.resize((400, 400), Image.Resampling.NEAREST)])[0]
    assert float(together[0] @ large) > float(together[0] @ together[1]) + 0.5
