"""`analyse attribution` with other encoders than CLIP, and with one that was tuned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from recbole_mm.analysis.attribution import entry, write_attribution
from recbole_mm.analysis.behaviour_cosines import BehaviourCosines
from recbole_mm.encoder import load_encoder
from recbole_mm.extraction import Pictures
from recbole_mm.extraction.prepared_pictures import prepared
from recbole_mm.load import open_checkpoint
from tests.encoder.test_auto import VISION, write_image_model
from tests.encoder.test_families import write_dual
from tests.model.test_ptmrec import PTMRuns
from tests.planted_contents import extract, write_contents
from tests.tiny_clip import write_dual_clip

transformers = pytest.importorskip("transformers")

MERGING = {"image_size": 32, "patch_size": 2, "embed_dim": 8, "depths": [1, 1], "num_heads": [2, 2]}


def raw(folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / "attribution-maps.npz") as stored:
        return dict(stored)


class TestActivation:
    """On a grid in reading order: patch (1, 2) of 4 x 4, behind what stands before the patches."""

    @pytest.mark.parametrize(
        ("config", "n_first", "depth"),
        [
            (transformers.ViTConfig(**VISION), 1, -2),
            (transformers.Dinov2Config(**VISION), 1, -2),
            (transformers.DINOv3ViTConfig(**VISION, num_register_tokens=2), 3, -2),
            (transformers.SiglipVisionConfig(**VISION), 0, -1),
        ],
        ids=lambda value: getattr(value, "model_type", ""),
    )
    def test_of_transformers(self, tmp_path, config, n_first, depth):
        model = write_image_model(tmp_path, config)
        encoder, pixels = load_encoder(tmp_path), torch.randn(2, 3, 32, 32)
        with torch.no_grad():
            states = model(pixel_values=pixels, output_hidden_states=True).hidden_states[depth]
            activation = encoder.activation(pixels)
        assert activation.shape == (2, 16, 4, 4)
        torch.testing.assert_close(activation[:, :, 1, 2], states[:, n_first + 1 * 4 + 2])

    @pytest.mark.parametrize(
        "config",
        [
            transformers.SwinConfig(**MERGING, window_size=2),
            transformers.Swinv2Config(**MERGING, window_size=2),
            transformers.FocalNetConfig(image_size=32, patch_size=2, embed_dim=8, depths=[1, 1], hidden_sizes=[8, 16],
                                        focal_levels=[1, 1], focal_windows=[3, 3]),
        ],
        ids=lambda config: config.model_type,
    )  # fmt: skip
    def test_of_one_that_merges_patches(self, tmp_path, config):
        """Its last stage has half as many a side: 8, place (1, 2) of which is the tenth."""
        model = write_image_model(tmp_path, config)
        encoder, pixels = load_encoder(tmp_path), torch.randn(2, 3, 32, 32)
        with torch.no_grad():
            states = model(pixel_values=pixels, output_hidden_states=True).hidden_states[-1]
            activation = encoder.activation(pixels)
        assert activation.shape == (2, 16, 8, 8)
        torch.testing.assert_close(activation[:, :, 1, 2], states[:, 1 * 8 + 2])

    def test_of_a_network_with_places(self, tmp_path):
        config = transformers.ResNetConfig(hidden_sizes=[8, 16], depths=[1, 1], embedding_size=8)
        model = write_image_model(tmp_path, config)
        pixels = torch.randn(1, 3, 32, 32)
        with torch.no_grad():
            torch.testing.assert_close(load_encoder(tmp_path).activation(pixels), model(pixels).last_hidden_state)


class TestTuned(PTMRuns):
    @pytest.mark.parametrize("family", ["clip", "siglip", "blip"])
    def test_features_are_those_that_the_model_was_trained_on(self, tmp_path, family):
        """The cosines of the whole picture are those of the model's own table, which the tuned encoder filled."""
        data = write_contents(tmp_path / "data")
        encoder = data / "clip" if family == "clip" else write_dual(tmp_path / family, family)
        extract(data, encoder)
        run = self.start(data, epochs=1, encoder=str(encoder), backbone="MGCN", learning_rate=0.05)
        trainer, *_ = self.finish(run)
        opened = open_checkpoint(trainer.saved_model_file)
        write_attribution([opened], encoder, ["i1", "i4"], tmp_path / "out", steps=2)
        target = BehaviourCosines(opened, "", "visual")
        items = torch.tensor([opened.dataset.token2id("item_id", item) for item in ("i1", "i4")])
        found = raw(tmp_path / "out")["cosines"][0]
        np.testing.assert_allclose(found, target.of_items(items).T.numpy(), rtol=1e-3, atol=1e-4)

    def test_beside_one_that_was_not_and_of_the_same_encoder_alone(self, data_path, tmp_path):
        run = self.start(data_path, epochs=1, backbone="MGCN")
        trainer, *_ = self.finish(run)
        tuned = open_checkpoint(trainer.saved_model_file)
        frozen_run = self.start(data_path, epochs=1, backbone="MGCN", peft="none", checkpoint_dir="frozen")
        frozen_trainer, *_ = self.finish(frozen_run)
        frozen = open_checkpoint(frozen_trainer.saved_model_file)
        write_attribution([tuned, frozen], data_path / "clip", ["i1"], tmp_path / "out", steps=2)
        found = raw(tmp_path / "out")
        assert found["maps"].shape[:2] == (2, 1)
        assert not np.allclose(found["maps"][0], found["maps"][1])
        torch.manual_seed(5)
        other = write_dual_clip(tmp_path / "other", blocks=4)
        with pytest.raises(ValueError, match="was tuned with encoder .* of another revision .*; give that one"):
            write_attribution([tuned], other, ["i1"], tmp_path / "out", steps=2)


class TestCache(PTMRuns):
    def test_a_picture_that_was_prepared_is_not_decoded(self, data_path, tmp_path, monkeypatch):
        run = self.start(data_path, epochs=1, backbone="MGCN", peft="none")
        trainer, *_ = self.finish(run)
        opened = open_checkpoint(trainer.saved_model_file)
        write_attribution([opened], data_path / "clip", ["i1"], tmp_path / "first", steps=2)
        encoder = load_encoder(data_path / "clip")
        contents = Pictures(data_path / "toy", data_path / "toy" / "images")
        with prepared(contents, encoder.preparation, entry._picture_cache(opened), 0) as pictures:
            list(pictures.prepare(pictures.items))
        monkeypatch.setattr(entry, "open_picture", lambda *_: pytest.fail("decoded"))
        write_attribution([opened], data_path / "clip", ["i1"], tmp_path / "second", steps=2)
        np.testing.assert_array_equal(raw(tmp_path / "first")["maps"], raw(tmp_path / "second")["maps"])
