"""Loading encoders of transformers' real classes, and what they make of pictures."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from recbole_mm.encoder import PictureError, load_encoder, open_picture
from tests.tiny_clip import write_clip, write_clip_resnet

transformers = pytest.importorskip("transformers")


@pytest.fixture
def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 70, 3), dtype=np.uint8))


class TestClip:
    def test_features_are_those_of_the_whole_model(self, tmp_path, picture):
        encoder = load_encoder(write_clip(tmp_path))
        pixels = encoder.preprocess([picture, picture])
        whole = transformers.CLIPModel.from_pretrained(tmp_path)
        with torch.no_grad():
            features = whole.get_image_features(pixel_values=pixels).pooler_output
        assert encoder.width == 6
        assert torch.equal(encoder(pixels), features)

    def test_an_image_tower_alone(self, tmp_path, picture):
        encoder = load_encoder(str(write_clip(tmp_path, width=5, whole=False)))
        assert encoder(encoder.preprocess([picture])).shape == (1, 5)

    def test_activation_is_the_output_of_the_last_block_but_one(self, tmp_path, picture):
        """Patches in reading order, without the class token: 32 / 8 = 4 a side."""
        encoder = load_encoder(write_clip(tmp_path))
        pixels, outputs = encoder.preprocess([picture]), []
        encoder.model.vision_model.encoder.layers[1].register_forward_hook(lambda *call: outputs.append(call[2]))
        activation = encoder.activation(pixels)
        assert activation.shape == (1, 16, 4, 4)
        assert torch.equal(activation[0, :, 1, 2], outputs[0][0, 1 + 1 * 4 + 2])

    def test_weights_in_half_precision(self, tmp_path, picture):
        transformers.CLIPModel.from_pretrained(write_clip(tmp_path)).half().save_pretrained(tmp_path)
        encoder = load_encoder(tmp_path)
        assert encoder(encoder.preprocess([picture])).dtype == torch.float32

    def test_is_frozen(self, tmp_path):
        encoder = load_encoder(write_clip(tmp_path))
        assert not encoder.training
        assert not any(parameter.requires_grad for parameter in encoder.parameters())

    def test_colours_are_those_of_the_cropped_picture(self, tmp_path):
        """To one step in 255, which rounding after the normalisation costs."""
        encoder = load_encoder(write_clip(tmp_path))
        colours = np.random.default_rng(1).integers(0, 255, (32, 32, 3), dtype=np.uint8)
        shown = encoder.to_colours(encoder.preprocess([Image.fromarray(colours)]))
        assert np.abs(shown[0].astype(int) - colours).max() <= 1

    def test_transformers_is_left_as_loud_as_it_was(self, tmp_path):
        before = transformers.utils.logging.get_verbosity()
        load_encoder(write_clip(tmp_path))
        assert transformers.utils.logging.get_verbosity() == before
        assert transformers.utils.logging.is_progress_bar_enabled()


class TestClipResNet:
    def test_features_and_activation(self, tmp_path, picture):
        """2,048 / 16 channels on a grid of 64 / 32, after a ReLU; the attention pooling makes the features of them."""
        encoder = load_encoder(write_clip_resnet(tmp_path, width=6, side=64))
        pixels = encoder.preprocess([picture, picture])
        activation = encoder.activation(pixels)
        assert (pixels.shape, activation.shape) == ((2, 3, 64, 64), (2, 128, 2, 2))
        assert (activation >= 0).all()
        assert encoder.width == 6
        torch.testing.assert_close(encoder(pixels), encoder.model.timm_model.head(activation))


def of_type(folder, **config) -> None:
    (folder / "config.json").write_text(json.dumps(config))


class TestBadInput:
    def refusal(self, name) -> str:
        with pytest.raises(ValueError, match="^encoder .* cannot be loaded: ") as caught:
            load_encoder(name)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    def test_no_such_folder(self):
        assert "./none, which is no folder, from the hub cannot" in self.refusal("./none")

    def test_an_empty_folder(self, tmp_path):
        assert str(tmp_path) in self.refusal(tmp_path)

    def test_weights_cut_short(self, tmp_path):
        file = write_clip(tmp_path) / "model.safetensors"
        file.write_bytes(file.read_bytes()[:-100])
        assert "incomplete" in self.refusal(tmp_path)

    def test_no_image_processor(self, tmp_path):
        (write_clip(tmp_path) / "preprocessor_config.json").unlink()
        assert "there is no preprocessor_config.json; save the image processor" in self.refusal(tmp_path)

    def test_missing_weights_are_not_made_up(self, tmp_path):
        config = transformers.CLIPVisionConfig.from_pretrained(write_clip(tmp_path, whole=False))
        transformers.CLIPVisionModel(config).save_pretrained(tmp_path)
        assert "its files lack 1 weights (first: visual_projection.weight)" in self.refusal(tmp_path)

    def test_one_block(self, tmp_path):
        assert "at least two blocks" in self.refusal(write_clip(tmp_path, blocks=1))

    def test_another_kind_of_model(self, tmp_path):
        of_type(tmp_path, model_type="bert")
        assert "it is of type 'bert', which reads no pictures" in self.refusal(tmp_path)

    def test_timm_is_missing(self, tmp_path):
        if transformers.utils.is_timm_available():
            pytest.skip("timm is installed")
        of_type(tmp_path, model_type="timm_wrapper", architecture="resnet50_clip")
        assert "timm" in self.refusal(tmp_path)

    def test_transformers_is_missing(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "transformers", None)
        with pytest.raises(ValueError, match=r'type: pip install "recbole-mm\[clip\]"'):
            load_encoder("any")


class TestPictures:
    def test_every_form_becomes_rgb(self, tmp_path):
        Image.new("L", (4, 3), 200).save(tmp_path / "grey.png")
        opened = open_picture(tmp_path / "grey.png")
        assert (opened.mode, opened.size, opened.getpixel((0, 0))) == ("RGB", (4, 3), (200, 200, 200))

    @pytest.mark.parametrize(("content", "reason"), [(b"text", "it is no picture"), (b"", "it is empty")])
    def test_no_picture(self, tmp_path, content, reason):
        (tmp_path / "a.jpg").write_bytes(content)
        with pytest.raises(PictureError, match=reason):
            open_picture(tmp_path / "a.jpg")

    @pytest.mark.parametrize("suffix", ["png", "jpg"])
    def test_cut_short(self, tmp_path, picture, suffix):
        file = tmp_path / f"a.{suffix}"
        picture.save(file)
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        with pytest.raises(PictureError, match="cannot be read as a picture .*truncated"):
            open_picture(file)

    def test_missing(self, tmp_path):
        with pytest.raises(PictureError, match="a.jpg"):
            open_picture(tmp_path / "a.jpg")

    def test_pillow_is_missing(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "PIL", None)
        with pytest.raises(ValueError, match=r'type: pip install "recbole-mm\[clip\]"'):
            open_picture(tmp_path / "a.jpg")
