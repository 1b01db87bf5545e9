"""Settings of image processors that no picture can be prepared by: refused with file and key, whoever loads them."""

from __future__ import annotations

import json

import pytest

from recbole_mm.encoder import load_dual_encoder, load_encoder, load_image_encoder, load_text_encoder
from tests.tiny_clip import write_dual_clip

LOADERS = (load_encoder, load_dual_encoder, load_image_encoder)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_dual_clip(tmp_path_factory.mktemp("clip"))


def with_settings(clip, name="preprocessor_config.json", within=None, **changed):
    """The encoder's folder with other settings of its image processor."""
    settings = json.loads((clip / "preprocessor_config.json").read_text()) | changed
    (clip / name).write_text(json.dumps(settings if within is None else {within: settings}))
    return clip


@pytest.fixture(autouse=True)
def as_before(clip):
    content = (clip / "preprocessor_config.json").read_bytes()
    yield
    (clip / "preprocessor_config.json").write_bytes(content)
    (clip / "processor_config.json").unlink(missing_ok=True)


BAD = [
    ({"size": {"shortest_edge": 100_000}}, "size.shortest_edge is 100000; give a length from 1 to 1024 pixels"),
    ({"size": {"height": 5000, "width": 8}}, "size.height is 5000; give a length from 1 to 4096 pixels"),
    ({"crop_size": {"height": 8, "width": 0}}, "crop_size.width is 0"),
    ({"size": -3}, "size is -3"),
    ({"size": "x"}, "size is 'x'"),
    ({"size": {"shortest_edge": float("nan")}}, "size.shortest_edge is nan"),
    ({"image_mean": "x", "size": -3}, "size is -3"),
    ({"image_mean": "x"}, "image_mean is 'x'; give three numbers, one for each colour"),
    ({"image_mean": [0.5, 0.5]}, "image_mean is '[0.5, 0.5]'"),
    ({"image_std": [0.5, 0.5, 0.0]}, "image_std is '[0.5, 0.5, 0.0]'; give three numbers above 0"),
    ({"do_resize": "maybe"}, "do_resize: input should be a valid boolean, and it is maybe"),
    ({"do_normalize": 1}, "do_normalize: input should be a valid boolean, and it is 1"),
    ({"do_center_crop": []}, "do_center_crop: input should be a valid boolean"),
    ({"resample": "x"}, "resample: input should be a valid integer, and it is x"),
    ({"resample": 9}, "resample: input should be less than or equal to 5"),
    ({"rescale_factor": 0}, "rescale_factor: input should be greater than or equal to"),
    ({"rescale_factor": 1e300}, "rescale_factor: input should be less than or equal to 1000000"),
    ({"image_mean": [0.5, 1e300, 0.5]}, "image_mean is '[0.5, 1e+300, 0.5]'"),
    ({"rescale_factor": float("inf")}, "rescale_factor: input should be less than or equal to 1000000"),
]


@pytest.mark.parametrize("load", LOADERS)
@pytest.mark.parametrize(("changed", "reason"), BAD)
def test_refused_with_file_and_key(clip, load, changed, reason):
    with pytest.raises(ValueError, match=f"^encoder {clip} cannot be loaded: preprocessor_config.json: ") as caught:
        load(str(with_settings(clip, **changed)))
    assert reason in str(caught.value) and "\n" not in str(caught.value)


def test_those_inside_of_a_processor_of_pictures_and_texts(clip):
    with pytest.raises(ValueError, match=r"processor_config.json: size.shortest_edge is 100000"):
        load_image_encoder(
            str(with_settings(clip, "processor_config.json", "image_processor", size={"shortest_edge": 100_000}))
        )


def test_texts_need_none_of_them(clip):
    """Numbers of pixels, as of Qwen's processors, are no lengths of sides; who reads texts meets none."""
    assert load_text_encoder(str(with_settings(clip, size={"shortest_edge": 3136, "longest_edge": 12_845_056})))
