"""Dual encoders with prompts, LoRA and adapters: against the plain model, a hand-built forward and known counts."""

from __future__ import annotations

import math
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from recbole_mm.encoder import load_dual_encoder
from recbole_mm.encoder.dual_encoder import DualEncoder
from recbole_mm.encoder.tuning import TuningSettings, add_prompts, tune
from tests.tiny_clip import write_clip, write_dual_clip

transformers = pytest.importorskip("transformers")

TEXTS = ["A cowboy", "space", "a man and his dog on a way"]
SMALL = TuningSettings(prompt_depth=2, prompt_length=2, lora_rank=2)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_dual_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture
def encoder(clip) -> DualEncoder:
    return load_dual_encoder(clip)


def contents(encoder: DualEncoder) -> tuple[Tensor, Tensor, Tensor]:
    rng = np.random.default_rng(0)
    pictures = [Image.fromarray(rng.integers(0, 255, (40, side, 3), dtype=np.uint8)) for side in (50, 35, 40)]
    return encoder.pixels(pictures), *encoder.tokens(TEXTS)


def features(encoder: DualEncoder, *inputs: Tensor) -> tuple[Tensor, Tensor]:
    pixels, ids, mask = inputs or contents(encoder)
    with torch.no_grad():
        return encoder.image_features(pixels), encoder.text_features(ids, mask)


def normalised(encoder: DualEncoder, pixels: Tensor) -> Tensor:
    return (pixels.float() / 255 - encoder.mean) / encoder.std


def require(kind: str) -> None:
    """Skip where the library of a kind of tuning is not installed."""
    if kind == "lora":
        pytest.importorskip("peft")


class TestPlain:
    def test_both_towers_equal_the_models_to_the_last_bit(self, encoder):
        pixels, ids, mask = contents(encoder)
        image, text = features(encoder, pixels, ids, mask)
        with torch.no_grad():
            expected = encoder.model.get_image_features(pixel_values=normalised(encoder, pixels)).pooler_output
            assert torch.equal(image, expected)
            expected = encoder.model.get_text_features(input_ids=ids, attention_mask=mask).pooler_output
            assert torch.equal(text, expected)

    def test_prompts_of_length_zero_change_no_bit(self, encoder):
        plain = features(encoder)
        add_prompts(encoder, depth=3, length=0)
        assert all(torch.equal(*pair) for pair in zip(features(encoder), plain, strict=True))

    def test_pixels_in_bytes_lose_nothing(self, encoder):
        """To the rounding of the processor's own float32 arithmetic."""
        picture = Image.fromarray(np.random.default_rng(1).integers(0, 255, (45, 37, 3), dtype=np.uint8))
        expected = encoder.processor(images=[picture], return_tensors="pt")["pixel_values"]
        torch.testing.assert_close(normalised(encoder, encoder.pixels([picture])), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("kind", ["lora", "adapter"])
def test_at_the_start_lora_and_adapters_change_nothing(encoder, kind):
    require(kind)
    plain = features(encoder)
    tune(encoder, kind, SMALL)
    assert all(torch.equal(*pair) for pair in zip(features(encoder), plain, strict=True))


class Hand:
    """CLIP's two towers written out for one content at a time, from the weights alone, in float64."""

    def __init__(self, encoder: DualEncoder):
        self.weights = {name: value.detach().double() for name, value in encoder.model.state_dict().items()}
        self.lead = encoder.prompts_lead
        self.prompts = {
            "vision_model": encoder.visual_prompts.detach().double(),
            "text_model": encoder.textual_prompts.detach().double(),
        }

    def linear(self, states: Tensor, name: str) -> Tensor:
        return states @ self.weights[f"{name}.weight"].T + self.weights.get(f"{name}.bias", 0)

    def norm(self, states: Tensor, name: str) -> Tensor:
        centred = states - states.mean(-1, keepdim=True)
        scaled = centred / (centred.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt()
        return scaled * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def attention(self, states: Tensor, name: str, causal: bool) -> Tensor:
        heads = []
        query, key, value = (self.linear(states, f"{name}.{letter}_proj") for letter in "qkv")
        for columns in torch.arange(states.shape[1]).chunk(2):
            scores = query[:, columns] @ key[:, columns].T / math.sqrt(len(columns))
            if causal:
                scores = scores.masked_fill(torch.ones_like(scores).triu(1).bool(), -torch.inf)
            heads.append(scores.softmax(-1) @ value[:, columns])
        return self.linear(torch.cat(heads, 1), f"{name}.out_proj")

    def block(self, states: Tensor, name: str, causal: bool) -> Tensor:
        states = states + self.attention(self.norm(states, f"{name}.layer_norm1"), f"{name}.self_attn", causal)
        hidden = self.linear(self.norm(states, f"{name}.layer_norm2"), f"{name}.mlp.fc1")
        return states + self.linear(hidden * torch.sigmoid(1.702 * hidden), f"{name}.mlp.fc2")

    def image(self, pixels: Tensor) -> Tensor:
        """The 16 patches of 8 x 8 row by row, the class token before and the prompts behind them."""
        w, prompts = self.weights, self.prompts["vision_model"]
        kernel = w["vision_model.embeddings.patch_embedding.weight"]
        corners = [(8 * row, 8 * column) for row in range(4) for column in range(4)]
        patches = [(kernel * pixels[:, y : y + 8, x : x + 8].double()).sum((1, 2, 3)) for y, x in corners]
        states = torch.stack([w["vision_model.embeddings.class_embedding"], *patches])
        states = torch.cat([states + w["vision_model.embeddings.position_embedding.weight"], prompts[0]])
        states = self.norm(states, "vision_model.pre_layrnorm")
        for layer in range(3):
            if layer in (1,):  # depth 2: the second block has prompts of its own, the third keeps what came out of it
                states = torch.cat([states[:17], prompts[layer]])
            states = self.block(states, f"vision_model.encoder.layers.{layer}", causal=False)
        return self.linear(self.norm(states[0], "vision_model.post_layernorm"), "visual_projection")

    def text(self, ids: list[int]) -> Tensor:
        """Start, prompts, letters, end; without padding, so that the last place is the end's."""
        w, prompts = self.weights, self.prompts["text_model"]
        words = w["text_model.embeddings.token_embedding.weight"][ids]
        place = 0 if self.lead else 1
        states = torch.cat([words[:place], prompts[0], words[place:]])
        states = states + w["text_model.embeddings.position_embedding.weight"][: len(states)]
        for layer in range(3):
            if layer in (1,):
                states = torch.cat([states[:place], prompts[layer], states[place + 2 :]])
            states = self.block(states, f"text_model.encoder.layers.{layer}", causal=True)
        return self.linear(self.norm(states[-1], "text_model.final_layer_norm"), "text_projection")


class TestPrompts:
    @pytest.mark.parametrize("position", ["after_start", "before_text"])
    def test_equal_a_forward_built_by_hand(self, encoder, position):
        """In single precision against double: 1e-5."""
        torch.manual_seed(1)
        tune(encoder, "prompt", replace(SMALL, prompt_position=position))
        with torch.no_grad():
            for prompts in (encoder.visual_prompts, encoder.textual_prompts):
                prompts.mul_(50)  # to the size of the tokens, so that a wrong place shows
        pixels, ids, mask = contents(encoder)
        image, text = features(encoder, pixels, ids, mask)
        hand = Hand(encoder)
        for row in range(3):
            expected = hand.image(normalised(encoder, pixels)[row])
            torch.testing.assert_close(image[row].double(), expected, rtol=1e-4, atol=1e-5)
            expected = hand.text(ids[row, : int(mask[row].sum())].tolist())
            torch.testing.assert_close(text[row].double(), expected, rtol=1e-4, atol=1e-5)

    def test_a_text_leaves_the_prompts_their_places(self, encoder):
        tune(encoder, "prompt", SMALL)
        ids, _ = encoder.tokens(TEXTS)
        assert (ids.shape[1], encoder.truncated) == (16 - 2, 1)
        assert ids[2, -1] == 513  # the cut text still ends

    def test_gradients_reach_all_prompts_and_nothing_else(self, encoder):
        tune(encoder, "prompt", SMALL)
        pixels, ids, mask = contents(encoder)
        (encoder.image_features(pixels).sum() + encoder.text_features(ids, mask).sum()).backward()
        assert set(encoder.tunable()) == {"visual_prompts", "textual_prompts"}
        for prompts in encoder.tunable().values():
            assert (prompts.grad.abs().amax(dim=2) > 0).all()
        assert all(value.grad is None for value in encoder.model.parameters())

    def test_checkpointed_gradients_are_the_same(self, encoder):
        """Every block runs twice then; to rounding, as sums may be taken in another order."""
        tune(encoder, "prompt", SMALL)
        pixels, ids, mask = contents(encoder)
        calls, gradients = [], []
        encoder.model.vision_model.encoder.layers[2].self_attn.register_forward_hook(lambda *call: calls.append(1))
        for checkpoints in (False, True):
            encoder.checkpoints_gradients = checkpoints
            encoder.zero_grad()
            (encoder.image_features(pixels).sum() + encoder.text_features(ids, mask).sum()).backward()
            gradients.append([value.grad.clone() for value in encoder.tunable().values()])
        torch.testing.assert_close(*gradients)
        assert len(calls) == 1 + 2


def vit_b_16() -> DualEncoder:
    """The size of CLIP's ViT-B/16 on the meta device, which has shapes and no memory."""
    vision = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12, "patch_size": 16}
    config = transformers.CLIPConfig(vision_config=vision, projection_dim=512)
    with torch.device("meta"):
        model = transformers.CLIPModel(config)
    return DualEncoder(model, None, transformers.CLIPImageProcessorPil(), {})


@pytest.mark.parametrize(
    ("kind", "count"),
    [
        ("prompt", 9 * 2 * (768 + 512)),
        ("lora", 12 * 4 * 8 * 2 * (768 + 512)),
        ("adapter", 24 * (2 * 768 * 192 + 768 + 192) + 24 * (2 * 512 * 128 + 512 + 128)),
        ("none", 0),
    ],
)
def test_counts_at_vit_b_16(kind, count):
    """23,040 prompts, 983,040 of LoRA and 10.26 million of adapters beside the 149.62 million of the encoder."""
    require(kind)
    encoder = vit_b_16()
    assert encoder.n_parameters == 149_620_737
    tune(encoder, kind, TuningSettings())
    assert encoder.n_tunable == count
    assert encoder.n_parameters == 149_620_737 + count


class TestSaving:
    @pytest.mark.parametrize("kind", ["prompt", "lora", "adapter"])
    def test_only_what_trains_is_saved_and_gives_the_same_features(self, clip, tmp_path, kind):
        require(kind)
        torch.manual_seed(2)
        first = tune(load_dual_encoder(clip), kind, SMALL)
        with torch.no_grad():
            for value in first.tunable().values():
                value.normal_()
        first.save_tuned(tmp_path / "tuned.safetensors")
        size = (tmp_path / "tuned.safetensors").stat().st_size
        assert 4 * first.n_tunable < size < 4 * first.n_tunable + 10_000
        second = tune(load_dual_encoder(clip), kind, SMALL)
        second.load_tuned(tmp_path / "tuned.safetensors")
        for pair in zip(features(second), features(first), strict=True):
            torch.testing.assert_close(*pair)
        assert not torch.allclose(features(first)[0], features(load_dual_encoder(clip))[0])

    def test_refusals(self, clip, tmp_path):
        file = tmp_path / "tuned.safetensors"
        with pytest.raises(FileNotFoundError, match="tuned.safetensors"):
            load_dual_encoder(clip).load_tuned(file)
        tune(load_dual_encoder(clip), "prompt", SMALL).save_tuned(file)
        with pytest.raises(ValueError, match="is of tuning prompt, this encoder of adapter"):
            tune(load_dual_encoder(clip), "adapter", SMALL).load_tuned(file)
        other = tune(load_dual_encoder(clip), "prompt", TuningSettings(prompt_depth=3))
        with pytest.raises(ValueError, match=r"textual_prompts is \[2, 2, 12\] in the file and \[3, 2, 12\] here"):
            other.load_tuned(file)
        other = tune(load_dual_encoder(write_dual_clip(tmp_path / "b", blocks=2)), "prompt", SMALL)
        with pytest.raises(ValueError, match="is of revision sha256"):
            other.load_tuned(file)
        file.write_bytes(file.read_bytes()[:100])
        with pytest.raises(ValueError, match="no whole safetensors file"):
            tune(load_dual_encoder(clip), "prompt", SMALL).load_tuned(file)

    def test_prompts_of_another_place_are_refused(self, encoder, clip, tmp_path):
        tune(encoder, "prompt", SMALL).save_tuned(tmp_path / "tuned.safetensors")
        other = tune(load_dual_encoder(clip), "prompt", replace(SMALL, prompt_position="before_text"))
        with pytest.raises(ValueError, match="tuned.safetensors is of another prompt_position"):
            other.load_tuned(tmp_path / "tuned.safetensors")


class TestBadInput:
    @pytest.mark.parametrize(
        ("kind", "settings", "message"),
        [
            ("prompts", {}, "peft: 'prompts' is not among adapter, lora, peft, prompt, none"),
            ("prompt", {"prompt_depth": 4}, "prompt_depth: 4 must be from 1 to 3, the visual tower's blocks"),
            ("prompt", {"prompt_depth": 1, "prompt_length": 14}, "prompt_length: 14 does not fit into texts of 16"),
            ("lora", {"lora_rank": 0}, "lora_rank: 0 must be at least 1"),
            ("adapter", {"bottleneck": 5}, "bottleneck: 5 must divide the tower's width 16"),
        ],
    )
    def test_settings(self, encoder, kind, settings, message):
        require(kind)
        with pytest.raises(ValueError, match=message):
            tune(encoder, kind, TuningSettings(**settings))

    def test_twice(self, encoder):
        tune(encoder, "adapter", SMALL)
        with pytest.raises(ValueError, match="tuned already, with 'adapter'"):
            tune(encoder, "prompt", SMALL)

    def test_one_tower(self, tmp_path):
        with pytest.raises(ValueError, match="type 'clip_vision_model', and tuning needs the two towers"):
            load_dual_encoder(write_clip(tmp_path, whole=False))

    def test_peft_is_missing(self, encoder, monkeypatch):
        monkeypatch.setitem(sys.modules, "peft", None)
        with pytest.raises(ValueError, match=r'type: pip install "recbole-mm\[clip\]"'):
            tune(encoder, "lora", SMALL)
