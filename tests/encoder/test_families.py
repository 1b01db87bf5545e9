"""Tuning of dual encoders beside CLIP, and by any configuration of peft."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from recbole_mm.encoder import load_dual_encoder
from recbole_mm.encoder.hooked_dual_encoder import HookedDualEncoder, blocks_of
from recbole_mm.encoder.peft_tuning import PeftSettings
from recbole_mm.encoder.tuning import TuningSettings, add_prompts, tune
from tests.encoder.test_auto import TEXTS, TOWER, VISION, write_text_model
from tests.tiny_clip import write_dual_clip

transformers = pytest.importorskip("transformers")

SMALL = TuningSettings(prompt_depth=2, prompt_length=3, lora_rank=2)
SETTINGS = {"siglip": (0, "SiglipModel"), "blip": (1, "BlipModel"), "blip retrieval": (1, "BlipForImageTextRetrieval")}


def write_dual(folder, family: str):
    """With a tokenizer of the texts' words."""
    text = {**TOWER, "vocab_size": 40, "max_position_embeddings": 8, "pad_token_id": 0}
    write_text_model(folder / "words", transformers.BertConfig(**TOWER, vocab_size=40))
    torch.manual_seed(1)
    if family == "siglip":
        config = transformers.SiglipConfig(vision_config=VISION, text_config=text)
    else:
        widths = {"projection_dim": 6, "image_text_hidden_size": 6}
        text |= {"encoder_hidden_size": 16, "is_decoder": False}
        vision = {**VISION, "initializer_range": 0.1}  # BLIP's own, 1e-10, leaves every picture alike
        config = transformers.BlipConfig(vision_config=vision, text_config=text, **widths)
    getattr(transformers, SETTINGS[family][1])(config).save_pretrained(folder)
    transformers.ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(folder / "words").save_pretrained(folder)
    return folder


@pytest.fixture(params=list(SETTINGS))
def family(request) -> str:
    return request.param


@pytest.fixture
def encoder(tmp_path, family) -> HookedDualEncoder:
    return load_dual_encoder(write_dual(tmp_path, family))


def contents(encoder):
    rng = np.random.default_rng(0)
    pictures = [Image.fromarray(rng.integers(0, 255, (40, side, 3), dtype=np.uint8)) for side in (50, 35)]
    return encoder.pixels(pictures), *encoder.tokens(TEXTS)


def features(encoder):
    pixels, ids, mask = contents(encoder)
    return encoder.image_features(pixels), encoder.text_features(ids, mask)


def test_untuned_features_are_the_models_own(encoder, tmp_path, family):
    pixels, ids, mask = contents(encoder)
    image, text = features(encoder)
    normalised = encoder.preparation.normalised(pixels)
    with torch.no_grad():
        expected = encoder.model.get_image_features(pixel_values=normalised)
        torch.testing.assert_close(image, getattr(expected, "pooler_output", expected))
        inputs = {} if family == "siglip" else {"attention_mask": mask}
        expected = encoder.model.get_text_features(input_ids=ids, **inputs)
        torch.testing.assert_close(text, getattr(expected, "pooler_output", expected))
    assert (encoder.width, encoder.truncated) == (image.shape[1], 2)


def test_prompts_of_length_zero_change_no_bit(encoder):
    plain = features(encoder)
    add_prompts(encoder, depth=2, length=0)
    for pair in zip(features(encoder), plain, strict=True):
        torch.testing.assert_close(*pair, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("position", ["after_start", "before_text"])
def test_prompts_stand_where_they_should(encoder, family, position):
    """Of each block's input: the tower's own tokens around the block's prompts; behind the last none."""
    torch.manual_seed(1)
    tune(encoder, "prompt", replace(SMALL, prompt_position=position))
    place = SETTINGS[family][0] if position == "after_start" else 0
    for tower, prompts, at in (
        (encoder.model.vision_model, encoder.visual_prompts, -3),
        (encoder.model.text_model, encoder.textual_prompts, place),
    ):
        seen = []
        for block in blocks_of(tower):
            block.register_forward_hook(lambda module, inputs, _, seen=seen: seen.append(inputs[0]))
        features(encoder)
        assert len(seen) == 2
        for depth, states in enumerate(seen):
            start = states.shape[1] - 3 if at == -3 else at
            assert torch.equal(states[0, start : start + 3], prompts[depth])


@pytest.mark.parametrize("position", ["after_start", "before_text"])
def test_prompts_are_seen_and_padding_is_not(tmp_path, position):
    """A text's feature is that of it alone, though the batch's are padded, and hangs on every prompt."""
    encoder = load_dual_encoder(write_dual(tmp_path, "blip"))
    tune(encoder, "prompt", replace(SMALL, prompt_position=position))
    together = features(encoder)[1]
    alone = torch.cat([encoder.text_features(*encoder.tokens([text])) for text in TEXTS])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_gradients_reach_all_prompts_and_nothing_else(encoder):
    tune(encoder, "prompt", SMALL)
    sum(feature.pow(2).sum() for feature in features(encoder)).backward()
    for prompts in encoder.tunable().values():
        assert (prompts.grad.abs().amax(dim=2) > 0).all()
    assert all(value.grad is None for value in encoder.model.parameters())


def test_checkpointed_gradients_are_the_same(encoder):
    tune(encoder, "prompt", SMALL)
    gradients = []
    for checkpoints in (False, True):
        encoder.checkpoints_gradients = checkpoints
        encoder.zero_grad()
        sum(feature.pow(2).sum() for feature in features(encoder)).backward()
        gradients.append([value.grad.clone() for value in encoder.tunable().values()])
    torch.testing.assert_close(*gradients)


def test_lora_starts_without_effect_and_trains_in_both_towers(encoder):
    pytest.importorskip("peft")
    plain = features(encoder)
    tune(encoder, "lora", SMALL)
    for pair in zip(features(encoder), plain, strict=True):
        torch.testing.assert_close(*pair)
    towers = {name.split(".")[1] for name in encoder.tunable()}
    assert towers == {"vision_model", "text_model"} and all("lora_" in name for name in encoder.tunable())


@pytest.mark.parametrize("family", ["siglip"])
def test_adapters_start_without_effect(encoder):
    plain = features(encoder)
    tune(encoder, "adapter", SMALL)
    for pair in zip(features(encoder), plain, strict=True):
        torch.testing.assert_close(*pair)
    assert encoder.n_tunable


def test_adapters_refuse_blocks_of_another_form(tmp_path):
    encoder = load_dual_encoder(write_dual(tmp_path, "blip"))
    with pytest.raises(ValueError, match="adapter knows no blocks like BlipTextModel's"):
        tune(encoder, "adapter", SMALL)


class TestPeft:
    @pytest.fixture
    def encoder(self, tmp_path):
        pytest.importorskip("peft")
        return load_dual_encoder(write_dual_clip(tmp_path))

    def test_dropout_is_random_in_training_alone(self, encoder):
        tune(encoder, "lora", TuningSettings(lora_rank=2, lora_dropout=0.5))
        with torch.no_grad():
            for value in encoder.tunable().values():
                value.normal_()
        encoder.set_training(True)
        assert not torch.equal(features(encoder)[0], features(encoder)[0])
        encoder.set_training(False)
        assert torch.equal(features(encoder)[0], features(encoder)[0])

    def test_dora_trains_a_length_for_every_output(self, encoder):
        tune(encoder, "lora", TuningSettings(lora_rank=2, lora_dora=True, lora_targets=["q_proj"]))
        names = [name for name in encoder.tunable() if "magnitude" in name]
        assert len(names) == 2 * 3 and {encoder.tunable()[name].numel() for name in names} == {16, 12}

    def test_targets(self, encoder):
        tune(encoder, "lora", TuningSettings(lora_rank=2, lora_targets=["fc1"]))
        assert encoder.n_tunable == 3 * 2 * (16 + 32) + 3 * 2 * (12 + 24)

    @pytest.mark.parametrize("kind", ["IA3", "loha", "LOKR", "HRA"])
    def test_any_method(self, encoder, kind):
        plain = features(encoder)
        tune(encoder, "peft", PeftSettings(peft_type=kind, peft_targets=["k_proj", "v_proj"]))
        for pair in zip(features(encoder), plain, strict=True):
            torch.testing.assert_close(*pair)
        if kind == "IA3":
            assert encoder.n_tunable == 2 * 3 * (16 + 12)  # a factor for each output of the two layers
        assert encoder.n_tunable

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"peft_type": "magic"}, "peft_type: 'magic' is not among"),
            ({"peft_targets": ["nothing"]}, "peft_targets: nothing names no layer"),
            ({"peft_type": "LOHA", "peft_options": {"rank": 3}}, "peft_options: peft's LOHA takes not"),
            ({"peft_type": "PREFIX_TUNING"}, "peft_options: peft's PREFIX_TUNING takes not"),
            ({"peft_type": "VERA"}, "peft_options: peft's VERA takes not"),
        ],
    )
    def test_bad_input(self, encoder, settings, message):
        with pytest.raises(ValueError, match=message):
            tune(encoder, "peft", PeftSettings(**settings))


def test_one_tower(tmp_path):
    write_text_model(tmp_path, transformers.BertConfig(**TOWER, vocab_size=40))
    with pytest.raises(ValueError, match="type 'bert', and tuning needs the two towers of a dual encoder"):
        load_dual_encoder(tmp_path)
