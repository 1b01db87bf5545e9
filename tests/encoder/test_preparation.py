"""Bytes of pictures against the processors' own pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from recbole_mm.encoder.preparation import Preparation

transformers = pytest.importorskip("transformers")


def picture(seed: int, size: tuple[int, int]) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8))


@pytest.mark.parametrize(
    "processor",
    [
        transformers.CLIPImageProcessorPil(),
        transformers.SiglipImageProcessorPil(size={"height": 48, "width": 32}),
        transformers.BitImageProcessorPil(size={"shortest_edge": 40}, crop_size={"height": 32, "width": 32}),
        transformers.ConvNextImageProcessorPil(size={"shortest_edge": 64}),
        transformers.ViTImageProcessorPil(do_normalize=False),
        transformers.ViTImageProcessorPil(rescale_factor=1 / 127.5),
        transformers.ViTImageProcessorPil(do_rescale=False, do_normalize=False),
    ],
    ids=lambda processor: type(processor).__name__,
)
def test_normalised_bytes_are_the_processors_pixels(processor):
    preparation = Preparation.of(processor)
    for seed, size in enumerate([(90, 61), (30, 200), (8, 8)]):
        shown = picture(seed, size)
        expected = processor(images=[shown], return_tensors="pt")["pixel_values"][0].float()
        pixels = preparation(shown)
        assert pixels.dtype == np.uint8 and pixels.shape == preparation.shape
        torch.testing.assert_close(preparation.normalised(torch.from_numpy(pixels)), expected, rtol=1e-6, atol=1e-5)


class Inverting(transformers.ViTImageProcessorPil):
    """Has the same settings, and gives other pixels."""

    def __call__(self, images, **options):
        found = super().__call__(images, **options)
        if options.get("do_normalize") is None:
            found["pixel_values"] = 1 - found["pixel_values"]
        return found


@pytest.mark.parametrize(
    "processor",
    [Inverting(), transformers.Siglip2ImageProcessorPil(), transformers.DetrImageProcessorPil()],
    ids=["other colours", "patches and masks", "sizes of the pictures"],
)
def test_there_is_none_where_bytes_of_one_size_are_not_what_is_read(processor):
    assert Preparation.of(processor) is None


def test_the_key_is_of_the_settings():
    sizes = [32, 32, 48]
    keys = [Preparation.of(transformers.ViTImageProcessorPil(size={"height": size, "width": 32})).key for size in sizes]
    assert keys[0] == keys[1] != keys[2]
