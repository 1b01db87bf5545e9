"""Encoders of pictures and texts of transformers' real classes, small and random, against the models' own outputs.

Two copies of one model differ in the last bits where their weights lie differently in memory, so values are compared to
rounding.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from recbole_mm.encoder import load_dual_encoder, load_image_encoder, load_text_encoder
from tests.tiny_clip import write_clip, write_dual_clip

transformers = pytest.importorskip("transformers")

TOWER = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
VISION = {**TOWER, "image_size": 32, "patch_size": 8}
TEXTS = ["A cowboy doll", "space", "a man and his dog on a long way home"]


@pytest.fixture
def pictures() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 255, (40, side, 3), dtype=np.uint8)) for side in (50, 35)]


def write_image_model(folder, config, kind=None):
    torch.manual_seed(0)
    model = transformers.AutoModel.from_config(config) if kind is None else kind(config)
    model.save_pretrained(folder)
    transformers.ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return model.eval()


def write_text_model(folder, config):
    """With a tokenizer of the texts' words, whose context is 6 tokens with the special ones."""
    torch.manual_seed(0)
    model = transformers.AutoModel.from_config(config)
    model.save_pretrained(folder)
    words = sorted({word.lower() for text in TEXTS for word in text.split()})
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words]
    transformers.BertTokenizer(
        vocab={word: number for number, word in enumerate(vocabulary)}, model_max_length=6
    ).save_pretrained(folder)
    return model.eval()


class TestPictures:
    def test_a_dual_encoder_projects(self, tmp_path, pictures):
        encoder = load_image_encoder(str(write_dual_clip(tmp_path)))
        model = transformers.CLIPModel.from_pretrained(tmp_path)
        pixels = encoder.tower.preprocess(pictures)
        with torch.no_grad():
            torch.testing.assert_close(encoder(pictures), model.get_image_features(pixel_values=pixels).pooler_output)
        assert encoder.facts["preprocessing"]["settings"]["crop_size"] == {"height": 32, "width": 32}

    def test_a_dual_encoder_of_another_family(self, tmp_path, pictures):
        text = {**TOWER, "vocab_size": 30, "max_position_embeddings": 8}
        config = transformers.SiglipConfig(vision_config=VISION, text_config=text)
        model = write_image_model(tmp_path, config)
        encoder = load_image_encoder(str(tmp_path))
        pixels = encoder.tower.processor(images=pictures, return_tensors="pt")["pixel_values"]
        with torch.no_grad():
            torch.testing.assert_close(encoder(pictures), model.get_image_features(pixel_values=pixels).pooler_output)
        assert encoder.facts["preprocessing"]["pooling"] == "projection"

    @pytest.mark.parametrize(
        "config",
        [
            transformers.ViTConfig(**VISION),
            transformers.Dinov2Config(**VISION),
            transformers.DINOv3ViTConfig(**VISION),
            transformers.BeitConfig(**VISION),
            transformers.ResNetConfig(hidden_sizes=[8, 16], depths=[1, 1], embedding_size=8),
        ],
        ids=lambda config: config.model_type,
    )
    def test_any_image_model_pools_as_it_does(self, tmp_path, pictures, config):
        model = write_image_model(tmp_path, config)
        encoder = load_image_encoder(str(tmp_path))
        pixels = encoder.tower.processor(images=pictures, return_tensors="pt")["pixel_values"]
        with torch.no_grad():
            torch.testing.assert_close(encoder(pictures), model(pixel_values=pixels).pooler_output.reshape(2, 16))

    def test_a_pooler_that_is_not_in_the_files_is_not_made_up(self, tmp_path, pictures):
        config = transformers.ViTConfig(**VISION)
        model = write_image_model(tmp_path, config, transformers.ViTForImageClassification)
        encoder = load_image_encoder(str(tmp_path))
        pixels = encoder.tower.processor(images=pictures, return_tensors="pt")["pixel_values"]
        with torch.no_grad():
            torch.testing.assert_close(encoder(pictures), model.vit(pixel_values=pixels).last_hidden_state[:, 0])
        assert encoder.facts["preprocessing"]["pooling"] == "class token"

    def test_siglip_2_of_pictures_of_any_size(self, tmp_path, pictures):
        vision = {**TOWER, "num_patches": 16, "patch_size": 8}
        text = {**TOWER, "vocab_size": 30, "max_position_embeddings": 8}
        torch.manual_seed(0)
        model = transformers.Siglip2Model(transformers.Siglip2Config(vision_config=vision, text_config=text)).eval()
        model.save_pretrained(tmp_path)
        transformers.Siglip2ImageProcessorPil(patch_size=8, max_num_patches=16).save_pretrained(tmp_path)
        encoder = load_image_encoder(str(tmp_path))
        assert encoder.preparation is None
        with torch.no_grad():
            inputs = encoder.tower.processor(images=pictures, return_tensors="pt")
            torch.testing.assert_close(encoder(pictures), model.get_image_features(**inputs).pooler_output)

    @pytest.mark.parametrize("kind", ["ViT", "CLIP"])
    def test_a_processor_that_leaves_pictures_as_they_are_is_refused(self, tmp_path, kind):
        """Pictures that are square it would read, and end at the first that is not."""
        if kind == "CLIP":
            write_clip(tmp_path)
        else:
            write_image_model(tmp_path, transformers.ViTConfig(**VISION))
        whole = transformers.CLIPImageProcessorPil(size={"shortest_edge": 32}, do_center_crop=False)
        whole.save_pretrained(tmp_path)
        reason = (
            r"preprocessor_config.json: a picture of 48 x 96 pixels comes out in a size that the model does not read "
            r"\(.*\); have it cropped \(do_center_crop, crop_size\), or give size a height and a width"
        )
        with pytest.raises(ValueError, match=f"^encoder {tmp_path} cannot be loaded: {reason}$"):
            load_image_encoder(str(tmp_path))

    def test_a_model_of_pictures_of_any_size_reads_each_as_it_is(self, tmp_path, pictures):
        model = write_image_model(tmp_path, transformers.Dinov2Config(**VISION))
        processor = transformers.CLIPImageProcessorPil(size={"shortest_edge": 32}, do_center_crop=False)
        processor.save_pretrained(tmp_path)
        encoder = load_image_encoder(str(tmp_path))
        assert encoder.preparation is None
        with torch.no_grad():
            for row, picture in zip(encoder(pictures), pictures, strict=True):
                pixels = processor(images=[picture], return_tensors="pt")["pixel_values"]
                torch.testing.assert_close(row, model(pixel_values=pixels).pooler_output[0])

    @pytest.mark.parametrize("kind", ["BlipForConditionalGeneration", "BlipForImageTextRetrieval", "BlipModel"])
    def test_blips_image_tower(self, tmp_path, pictures, kind):
        text = {**TOWER, "vocab_size": 30, "encoder_hidden_size": 16, "max_position_embeddings": 8}
        widths = {"projection_dim": 6, "image_text_hidden_size": 6}
        vision = {**VISION, "initializer_range": 0.1}  # BLIP's own, 1e-10, leaves every picture alike
        config = transformers.BlipConfig(vision_config=vision, text_config=text, **widths)
        model = write_image_model(tmp_path, config, getattr(transformers, kind))
        encoder = load_image_encoder(str(tmp_path))
        pixels = encoder.tower.processor(images=pictures, return_tensors="pt")["pixel_values"]
        with torch.no_grad():
            expected = model.vision_model(pixels).pooler_output
            if kind == "BlipModel":
                expected = model.visual_projection(expected)
            if kind == "BlipForImageTextRetrieval":
                expected = model.vision_proj(model.vision_model(pixels).last_hidden_state[:, 0])
            torch.testing.assert_close(encoder(pictures), expected)

    def test_an_image_tower_alone(self, tmp_path, pictures):
        assert load_image_encoder(str(write_clip(tmp_path, width=5, whole=False)))(pictures).shape == (2, 5)


class TestTexts:
    def test_a_dual_encoder_projects_and_counts_what_it_cuts(self, tmp_path):
        encoder = load_text_encoder(str(write_dual_clip(tmp_path)))
        tokens = encoder.tokenizer(TEXTS, padding=True, truncation=True, max_length=16, return_tensors="pt")
        model = transformers.CLIPModel.from_pretrained(tmp_path)
        with torch.no_grad():
            expected = model.get_text_features(**tokens).pooler_output
            torch.testing.assert_close(encoder(TEXTS), expected)
        assert encoder.truncated == 1  # 27 letters; "A cowboy doll" has 11, and both have two special tokens
        assert (tokens["input_ids"][2, -1], tokens["input_ids"].shape[1]) == (513, 16)  # the cut text still ends

    @pytest.mark.parametrize(
        "config",
        [
            transformers.BertConfig(**TOWER, vocab_size=40),
            transformers.GPT2Config(n_embd=16, n_layer=2, n_head=2, vocab_size=40),
            transformers.T5Config(d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2, vocab_size=40),
        ],
        ids=lambda config: config.model_type,
    )
    def test_any_text_model_gives_the_mean_over_its_tokens(self, tmp_path, config):
        """Of each text alone, so without padding; to the rounding of sums in another order."""
        model = write_text_model(tmp_path, config)
        if config.is_encoder_decoder:
            model = model.get_encoder()
        encoder = load_text_encoder(str(tmp_path))
        with torch.no_grad():
            features = encoder(TEXTS)
            for row, text in zip(features, TEXTS, strict=True):
                ids = encoder.tokenizer([text], truncation=True, max_length=6, return_tensors="pt")["input_ids"]
                expected = model(input_ids=ids).last_hidden_state[0].mean(dim=0)
                torch.testing.assert_close(row, expected)
        assert encoder.truncated == 1

    @pytest.mark.parametrize("kind", [transformers.T5EncoderModel, transformers.UMT5EncoderModel])
    def test_an_encoder_that_is_stored_without_its_decoder(self, tmp_path, kind):
        """As sentence-T5 is, and it gives what the whole model gives."""
        sizes = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2, "vocab_size": 40}
        whole = write_text_model(tmp_path, kind.config_class(**sizes))
        with torch.no_grad():
            expected = load_text_encoder(str(tmp_path))(TEXTS)
            half = kind(kind.config_class(**sizes))
            half.load_state_dict(whole.state_dict(), strict=False)
            half.save_pretrained(tmp_path)
            assert torch.equal(load_text_encoder(str(tmp_path))(TEXTS), expected)
        assert not any("decoder" in name for name in half.state_dict())

    @pytest.mark.parametrize(("pooling", "place"), [("cls", 0), ("last", -1)])
    @pytest.mark.parametrize("kind", ["bert", "qwen3"])
    def test_other_poolings_of_each_text_alone(self, tmp_path, pooling, place, kind):
        config = transformers.BertConfig(**TOWER, vocab_size=40)
        if kind == "qwen3":
            config = transformers.Qwen3Config(**TOWER, vocab_size=40, num_key_value_heads=2, head_dim=8)
        model = write_text_model(tmp_path, config)
        encoder = load_text_encoder(str(tmp_path), pooling=pooling)
        with torch.no_grad():
            for row, text in zip(encoder(TEXTS), TEXTS, strict=True):
                ids = encoder.tokenizer([text], truncation=True, max_length=6, return_tensors="pt")["input_ids"]
                torch.testing.assert_close(row, model(input_ids=ids).last_hidden_state[0, place])
        assert encoder.facts["preprocessing"]["pooling"] == pooling

    def test_a_prefix_stands_before_every_text(self, tmp_path):
        write_text_model(tmp_path, transformers.BertConfig(**TOWER, vocab_size=40))
        with torch.no_grad():
            expected = load_text_encoder(str(tmp_path))([f"dog {text}" for text in TEXTS])
            encoder = load_text_encoder(str(tmp_path), prefix="dog ")
            assert torch.equal(encoder(TEXTS), expected)
        assert encoder.facts["preprocessing"]["prefix"] == "dog "

    def test_half_precision_has_half_the_weights_and_close_features(self, tmp_path):
        write_text_model(tmp_path, transformers.BertConfig(**TOWER, vocab_size=40))
        encoder = load_text_encoder(str(tmp_path), dtype="bfloat16")
        assert {value.dtype for value in encoder.parameters()} == {torch.bfloat16}
        with torch.no_grad():
            rows, whole = encoder(TEXTS), load_text_encoder(str(tmp_path))(TEXTS)
        assert rows.dtype == torch.float32
        torch.testing.assert_close(rows, whole, rtol=0.05, atol=0.05)  # bfloat16 has 8 bits

    def test_a_dual_encoder_leaves_no_choice_of_pooling(self, tmp_path):
        write_dual_clip(tmp_path)
        with pytest.raises(ValueError, match="leaves no choice of --pooling"):
            load_text_encoder(str(tmp_path), pooling="last")

    def test_positions_before_the_first_token_are_not_context(self, tmp_path):
        """RoBERTa counts positions from behind the padding's, which is 1: of 7 there are 5 for tokens."""
        config = transformers.RobertaConfig(**TOWER, vocab_size=40, max_position_embeddings=7, pad_token_id=1)
        write_text_model(tmp_path, config)
        encoder = load_text_encoder(str(tmp_path))
        assert encoder.context == 5
        assert torch.isfinite(encoder(TEXTS)).all()

    def test_sentence_transformers(self, tmp_path):
        library = pytest.importorskip("sentence_transformers")
        from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

        write_text_model(tmp_path / "bert", transformers.BertConfig(**TOWER, vocab_size=40))
        words = Transformer(str(tmp_path / "bert"))
        library.SentenceTransformer(modules=[words, Pooling(16, "cls"), Normalize()]).save(str(tmp_path / "whole"))
        with torch.no_grad():
            expected = load_text_encoder(str(tmp_path / "whole"))([f"dog {text}" for text in TEXTS])
            torch.testing.assert_close(load_text_encoder(str(tmp_path / "whole"), prefix="dog ")(TEXTS), expected)
        with pytest.raises(ValueError, match="SentenceTexts takes no --pooling; leave it out"):
            load_text_encoder(str(tmp_path / "whole"), pooling="mean")
        encoder = load_text_encoder(str(tmp_path / "whole"))
        tokens = encoder.model.tokenizer(TEXTS, padding=True, truncation=True, max_length=6, return_tensors="pt")
        with torch.no_grad():
            first = transformers.BertModel.from_pretrained(tmp_path / "bert")(**tokens).last_hidden_state[:, 0]
            torch.testing.assert_close(encoder(TEXTS), torch.nn.functional.normalize(first))
        assert encoder.truncated == 1
        assert "Normalize" in encoder.facts["preprocessing"]["modules"]

    def test_sentence_transformers_is_missing(self, tmp_path, monkeypatch):
        monkeypatch.setitem(__import__("sys").modules, "sentence_transformers", None)
        (tmp_path / "modules.json").write_text("[]")
        with pytest.raises(ValueError, match=r'type: pip install "recbole-mm\[sentence\]"'):
            load_text_encoder(str(tmp_path))


class TestBadInput:
    def test_no_image_tower(self, tmp_path):
        write_text_model(tmp_path, transformers.BertConfig(**TOWER, vocab_size=40))
        with pytest.raises(ValueError, match="of type 'bert', which reads no pictures"):
            load_image_encoder(str(tmp_path))

    def test_no_text_tower(self, tmp_path):
        write_image_model(tmp_path, transformers.ViTConfig(**VISION))
        with pytest.raises(ValueError, match="of type 'vit', which reads no texts"):
            load_text_encoder(str(tmp_path))

    def test_the_revision_of_a_folder_is_that_of_its_files(self, tmp_path):
        first = load_image_encoder(str(write_dual_clip(tmp_path))).facts["revision"]
        assert load_text_encoder(str(tmp_path)).facts["revision"] == first
        write_dual_clip(tmp_path, width=7)
        assert load_image_encoder(str(tmp_path)).facts["revision"] != first


class TestNames:
    def test_a_slip_of_a_registered_name_is_not_looked_for_on_the_hub(self):
        with pytest.raises(ValueError, match="encoder histogramz is no folder and no registered") as error:
            load_image_encoder("histogramz")
        assert "(did you mean histograms?); registered for pictures: histograms" in str(error.value)

    def test_a_folder_may_have_any_name(self, tmp_path, monkeypatch, pictures):
        monkeypatch.chdir(tmp_path)
        write_dual_clip(tmp_path / "histogramz")
        assert load_image_encoder("histogramz")(pictures).shape[0] == 2

    # ---------------------------------------------------------------- encoders that cannot read texts

    def changed(self, folder, file: str, **settings) -> None:
        path = folder / file
        path.write_text(json.dumps(json.loads(path.read_text()) | settings))

    @pytest.mark.parametrize(
        ("file", "changed", "reason"),
        [
            ("tokenizer_config.json", {"model_max_length": 0}, "it reads 0 tokens of a text, of which 2 are special"),
            ("tokenizer_config.json", {"model_max_length": 2}, "it reads 2 tokens of a text, of which 2 are special"),
            ("tokenizer_config.json", {"model_max_length": -5}, "it reads -5 tokens of a text"),
            ("tokenizer_config.json", {"model_max_length": "six"}, "model_max_length is 'six', which is no number"),
            ("tokenizer_config.json", {"model_max_length": float("nan")}, "model_max_length is 'nan', which is no num"),
            ("tokenizer_config.json", {"pad_token": None}, "there is neither a pad_token nor an eos_token; add one"),
        ],
    )
    def test_a_tokenizer_by_which_no_text_is_read(self, tmp_path, file, changed, reason):
        write_text_model(tmp_path, transformers.BertConfig(**TOWER, vocab_size=40))
        self.changed(tmp_path, file, **changed)
        with pytest.raises(ValueError, match=f"^encoder {tmp_path} cannot be loaded: .*{reason}") as error:
            load_text_encoder(str(tmp_path))
        assert "\n" not in str(error.value)

    @pytest.mark.parametrize("kind", ["text", "dual"])
    def test_a_tokenizer_whose_words_are_missing(self, tmp_path, kind):
        """Transformers makes one that knows none, and an encoder with it gives all texts the same features."""
        if kind == "dual":
            write_dual_clip(tmp_path)
        else:
            write_text_model(tmp_path, transformers.BertConfig(**TOWER, vocab_size=40))
        load_text_encoder(str(tmp_path))
        (tmp_path / "tokenizer.json").unlink()
        with pytest.raises(ValueError, match="its tokenizer knows no words, .*; bring tokenizer.json back"):
            load_text_encoder(str(tmp_path))

    def test_a_tokenizer_of_another_model(self, tmp_path):
        """Whose words have numbers that the model has no rows for."""
        write_text_model(tmp_path, transformers.BertConfig(**TOWER, vocab_size=3))
        with pytest.raises(ValueError, match=r"what Bert\w+ makes of a text is not what BertModel reads \(.*\); take"):
            load_text_encoder(str(tmp_path))

    def test_weights_that_make_nan_of_a_text(self, tmp_path):
        model = write_text_model(tmp_path, transformers.BertConfig(**TOWER, vocab_size=40))
        with torch.no_grad():
            model.embeddings.LayerNorm.bias[0] = torch.nan
        model.save_pretrained(tmp_path)
        with pytest.raises(ValueError, match="its features of a text are NaN or infinite; replace its files"):
            load_text_encoder(str(tmp_path))

    def test_a_model_of_sentence_transformers_is_tried_too(self, tmp_path):
        library = pytest.importorskip("sentence_transformers")
        from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

        write_text_model(tmp_path / "bert", transformers.BertConfig(**TOWER, vocab_size=3))
        words = Transformer(str(tmp_path / "bert"))
        library.SentenceTransformer(modules=[words, Pooling(16, "cls")]).save(str(tmp_path / "whole"))
        with pytest.raises(ValueError, match="is not what Transformer and Pooling reads"):
            load_text_encoder(str(tmp_path / "whole"))

    @pytest.mark.parametrize("load", [load_text_encoder, load_dual_encoder])
    def test_a_dual_encoders_texts_are_tried_too(self, tmp_path, load):
        write_dual_clip(tmp_path)
        transformers.CLIPModel(
            transformers.CLIPConfig(vision_config=VISION, text_config={**TOWER, "vocab_size": 3, "eos_token_id": 2})
        ).save_pretrained(tmp_path)
        with pytest.raises(ValueError, match="makes of a text is not what CLIPModel reads"):
            load(str(tmp_path))

    def test_no_text_of_the_trial_is_counted(self, tmp_path):
        write_text_model(tmp_path, transformers.BertConfig(**TOWER, vocab_size=40))
        assert load_text_encoder(str(tmp_path)).truncated == 0
