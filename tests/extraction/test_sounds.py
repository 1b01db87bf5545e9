"""Sounds: decoding against known waves, windows, and every kind of encoder against its model's own outputs."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from recbole_mm.__main__ import main
from recbole_mm.data.feature_file import read_features
from recbole_mm.encoder import load_sound_encoder
from recbole_mm.extraction.contents import MissingContent
from recbole_mm.extraction.sounds import Sounds
from recbole_mm.io import sounds as module
from recbole_mm.io.sounds import SoundError, open_sound
from recbole_mm.testing import EncoderConformance
from tests.extraction.shop import write_shop
from tests.security.test_pictures import KINDS, make

transformers = pytest.importorskip("transformers")
soundfile = pytest.importorskip("soundfile")
pytest.importorskip("soxr")

RATE = 16_000
TOWER = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
WAV2VEC = {**TOWER, "conv_dim": (8, 8), "conv_stride": (20, 16), "conv_kernel": (20, 16), "num_feat_extract_layers": 2,
           "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2}  # fmt: skip


def tone(seconds: float, rate: int = RATE, pitch: float = 440.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * pitch * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


class TestDecoding:
    def test_the_mean_of_the_channels(self, tmp_path):
        left, right = tone(0.3), tone(0.3, pitch=700)
        soundfile.write(tmp_path / "a.wav", np.stack([left, right], axis=1), RATE, subtype="FLOAT")
        np.testing.assert_allclose(open_sound(tmp_path / "a.wav", RATE), (left + right) / 2, atol=1e-7)

    @pytest.mark.parametrize("form", ["wav", "flac", "ogg", "mp3"])
    def test_resampled_a_tone_keeps_its_pitch(self, tmp_path, form):
        """Away from the ends, which filters and compression change; to 2 %, which is compression's."""
        soundfile.write(tmp_path / f"a.{form}", tone(1, 44_100), 44_100)
        samples = open_sound(tmp_path / f"a.{form}", RATE)
        assert samples.dtype == np.float32 and abs(len(samples) - RATE) <= 0.1 * RATE
        spectrum = np.abs(np.fft.rfft(samples[2000:12_000] * np.hanning(10_000)))
        assert spectrum.argmax() * RATE / 10_000 == pytest.approx(440, abs=2)
        assert np.abs(samples[2000:12_000]).max() == pytest.approx(0.5, rel=0.02)

    def test_of_an_mp3_that_is_cut_short_what_there_is_of_it(self, tmp_path):
        """Its header tells of more than there is, which must not be filled up with what the memory holds."""
        soundfile.write(tmp_path / "a.mp3", tone(1), RATE)
        content = (tmp_path / "a.mp3").read_bytes()
        (tmp_path / "cut.mp3").write_bytes(content[: len(content) * 2 // 3])
        samples = open_sound(tmp_path / "cut.mp3", RATE)
        assert RATE // 2 < len(samples) < RATE * 3 // 4 and np.abs(samples).max() < 0.6

    @pytest.mark.parametrize(
        ("content", "reason"),
        [(b"", "it is empty"), (b"RIFF" * 99, "Format not recognised")],
    )
    def test_no_sound(self, tmp_path, content, reason):
        (tmp_path / "a.wav").write_bytes(content)
        with pytest.raises(SoundError, match=rf"^{tmp_path}/a.wav cannot be read as a sound \({reason}\); replace it$"):
            open_sound(tmp_path / "a.wav", RATE)

    def test_empty_not_finite_and_endless(self, tmp_path, monkeypatch):
        for samples, reason in ((np.zeros(0), "no samples"), (np.full(99, np.nan), "not finite")):
            soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="FLOAT")
            with pytest.raises(SoundError, match=reason):
                open_sound(tmp_path / "a.wav", RATE)
        monkeypatch.setattr(module, "MOST_SECONDS", 1)
        soundfile.write(tmp_path / "a.flac", np.zeros(RATE * 90), RATE)
        with pytest.raises(SoundError, match="longer than 1 seconds; cut it"):
            open_sound(tmp_path / "a.flac", RATE)

    @pytest.mark.parametrize("kind", KINDS)
    def test_what_is_no_file(self, tmp_path, kind):
        make(tmp_path / "a.wav", kind)
        with pytest.raises(SoundError, match="cannot be read as a sound"):
            open_sound(tmp_path / "a.wav", RATE)

    def test_soundfile_is_missing(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "soundfile", None)
        with pytest.raises(ValueError, match=r'type: pip install "recbole-mm\[audio\]"'):
            open_sound(tmp_path / "a.wav", RATE)


class TestWindows:
    @pytest.mark.parametrize(
        ("seconds", "lengths"), [(0.4, [0.4]), (1, [1]), (1.4, [1]), (1.6, [1, 0.6]), (2.5, [1, 1, 0.5])]
    )
    def test_lengths(self, tmp_path, seconds, lengths):
        shop = sound_shop(tmp_path, {"a": tone(seconds)})
        windows = Sounds(shop, tmp_path / "sounds", RATE, 1.0).read("a")
        assert [len(window) / RATE for window in windows] == lengths
        np.testing.assert_allclose(np.concatenate(windows), tone(seconds)[: int(sum(lengths) * RATE)], atol=1e-4)

    def test_too_short(self, tmp_path):
        shop = sound_shop(tmp_path, {"a": tone(0.05), "b": tone(1)})
        with pytest.raises(MissingContent, match="shorter than 0.1 seconds"):
            Sounds(shop, tmp_path / "sounds", RATE, 1.0).read("a")


def sound_shop(folder: Path, sounds: dict[str, np.ndarray]) -> Path:
    shop = write_shop(folder)
    (folder / "sounds").mkdir()
    for name, samples in sounds.items():
        soundfile.write(folder / "sounds" / f"{name}.wav", samples, RATE, subtype="FLOAT")
    return shop


def write(folder: Path, model, extractor) -> tuple:
    model.save_pretrained(folder)
    extractor.save_pretrained(folder)
    return model.eval(), extractor


def write_hubert(folder: Path, kind: str = "Hubert") -> tuple:
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**WAV2VEC, feat_extract_norm="layer")
    return write(folder, getattr(transformers, f"{kind}Model")(config), transformers.Wav2Vec2FeatureExtractor())


def write_whisper(folder: Path) -> tuple:
    torch.manual_seed(0)
    sizes = {f"{part}_{what}": n for part in ("encoder", "decoder") for what, n in
             (("layers", 2), ("attention_heads", 2), ("ffn_dim", 32))}  # fmt: skip
    tokens = {"vocab_size": 20, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}
    config = transformers.WhisperConfig(d_model=16, num_mel_bins=80, **sizes, **tokens)
    return write(folder, transformers.WhisperModel(config), transformers.WhisperFeatureExtractor())


def write_clap(folder: Path) -> tuple:
    torch.manual_seed(0)
    audio = {"hidden_size": 32, "patch_embeds_hidden_size": 4, "depths": [1, 1], "num_attention_heads": [2, 2],
             "spec_size": 64, "num_mel_bins": 16, "num_hidden_layers": 2, "window_size": 4, "patch_stride": [4, 4]}
    text = {**TOWER, "vocab_size": 20}
    audio["hidden_size"] = 8  # twice as wide behind the only merging of patches
    config = transformers.ClapConfig(text_config=text, audio_config=audio, projection_dim=6)
    extractor = transformers.ClapFeatureExtractor(
        feature_size=16, sampling_rate=RATE, hop_length=160, max_length_s=2, fft_window_size=512, frequency_max=8000,
        truncation="rand_trunc",
    )  # fmt: skip
    return write(folder, transformers.ClapModel(config), extractor)


def write_ast(folder: Path) -> tuple:
    torch.manual_seed(0)
    config = transformers.ASTConfig(**TOWER, max_length=64, num_mel_bins=16, patch_size=8)
    extractor = transformers.ASTFeatureExtractor(max_length=64, num_mel_bins=16)
    return write(folder, transformers.ASTModel(config), extractor)


class TestEncoders:
    """Of each sound alone, so that none of its features hangs on the batch's others."""

    SOUNDS = [tone(0.5), tone(0.3, pitch=600), tone(0.5, pitch=1000)]

    def check(self, folder: Path, expected) -> None:
        encoder = load_sound_encoder(str(folder))
        with torch.no_grad():
            rows = encoder(self.SOUNDS)
            for row, samples in zip(rows, self.SOUNDS, strict=True):
                inputs = encoder.extractor(samples, sampling_rate=RATE, return_tensors="pt")
                torch.testing.assert_close(row, expected(inputs, samples)[0], rtol=1e-4, atol=1e-5)
        assert not torch.allclose(rows[0], rows[2], atol=1e-4)

    @pytest.mark.parametrize("kind", ["Hubert", "Wav2Vec2", "WavLM"])
    def test_the_mean_of_the_states(self, tmp_path, kind):
        model, _ = write_hubert(tmp_path, kind)
        self.check(tmp_path, lambda inputs, _: model(inputs["input_values"]).last_hidden_state.mean(dim=1))
        assert load_sound_encoder(str(tmp_path)).seconds == 10

    def test_whisper_counts_what_the_sound_fills(self, tmp_path):
        """A state is of 20 ms: of 0.5 s there are 25, of 0.3 s 15, of 1,500."""
        model, _ = write_whisper(tmp_path)

        def expected(inputs, samples):
            states = model.encoder(inputs["input_features"]).last_hidden_state
            return states[:, : round(len(samples) / RATE * 50)].mean(dim=1)

        self.check(tmp_path, expected)
        assert load_sound_encoder(str(tmp_path)).seconds == 30

    def test_clap_projects(self, tmp_path):
        model, _ = write_clap(tmp_path)
        self.check(tmp_path, lambda inputs, _: model.get_audio_features(**inputs).pooler_output)
        encoder = load_sound_encoder(str(tmp_path))
        assert (encoder.seconds, encoder.facts["preprocessing"]["pooling"]) == (2, "projection")

    def test_ast_pools(self, tmp_path):
        model, _ = write_ast(tmp_path)
        self.check(tmp_path, lambda inputs, _: model(inputs["input_values"]).pooler_output)
        assert load_sound_encoder(str(tmp_path)).seconds == 0.64

    def test_mert_is_huberts_network_and_runs_no_code(self, tmp_path):
        model, _ = write_hubert(tmp_path)
        (tmp_path / "modeling_MERT.py").write_text("raise SystemExit('its code ran')")
        settings = json.loads((tmp_path / "config.json").read_text())
        settings |= {"model_type": "mert_model", "architectures": ["MERTModel"], "deepnorm": False,
                     "attention_relax": -1.0, "auto_map": {"AutoModel": "modeling_MERT.MERTModel"}}  # fmt: skip
        (tmp_path / "config.json").write_text(json.dumps(settings))
        self.check(tmp_path, lambda inputs, _: model(inputs["input_values"]).last_hidden_state.mean(dim=1))
        for key, value in (("deepnorm", True), ("attention_relax", 32.0)):
            (tmp_path / "config.json").write_text(json.dumps(settings | {key: value}))
            with pytest.raises(ValueError, match=f"its {key} is a part that HuBERT has not"):
                load_sound_encoder(str(tmp_path))

    @pytest.mark.parametrize(
        ("changed", "reason"),
        [
            *(({"sampling_rate": rate}, "sampling_rate: input should be ") for rate in (0, 1, -1, "16k", 1e12, True)),
            ({"feature_size": [1]}, "feature_size: input should be a valid integer, and it is [1]"),
            ({"feature_size": 10**9}, "feature_size: input should be less than or equal to 65536"),
            ({"padding_value": float("nan")}, "padding_value: input should be a finite number, and it is nan"),
            ({"hop_length": 0}, "hop_length: input should be greater than or equal to 16"),
            ({"chunk_length": 1e9}, "chunk_length: input should be less than or equal to 600"),
            ({"max_length_s": float("nan")}, "max_length_s: input should be"),
            ({"dither": 1.0}, "dither: input should be less than or equal to 0"),
            ({"padding": "bogus"}, "padding: input should be"),
            ({"truncation": "bogus"}, "truncation: input should be"),
            ({"do_normalize": "maybe"}, "do_normalize: input should be a valid boolean"),
            ({"feature_extractor_type": "NoSuchExtractor"}, "preprocessor_config.json"),
        ],
    )
    def test_settings_by_which_no_sound_can_be_prepared(self, tmp_path, changed, reason):
        write_hubert(tmp_path)
        file = tmp_path / "preprocessor_config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | changed))
        with pytest.raises(ValueError, match="cannot be loaded: preprocessor_config.json: ") as error:
            load_sound_encoder(str(tmp_path))
        assert reason in str(error.value) and "\n" not in str(error.value) and len(str(error.value)) < 600

    @pytest.mark.parametrize(
        ("strides", "reason"),
        [
            ((1, 1), "conv_stride [1, 1] makes 16000 states of a second of sound; give from 1 to 1,000"),
            ((0, 16), "conv_stride is [0, 16]; give whole numbers above 0"),
            ((20, 10_000), "makes 0.08 states of a second of sound"),
            (("x", 16), "config.json: "),
        ],
    )
    def test_convolutions_that_leave_no_states_or_too_many(self, tmp_path, strides, reason):
        write_hubert(tmp_path)
        file = tmp_path / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"conv_stride": strides}))
        with pytest.raises(ValueError, match="cannot be loaded: ") as error:
            load_sound_encoder(str(tmp_path))
        assert reason in str(error.value)

    def test_an_extractor_that_does_not_fit(self, tmp_path):
        """Whisper's of 40 bands before a model that reads 80; and weights that make NaN of any sound."""
        write_whisper(tmp_path / "whisper")
        transformers.WhisperFeatureExtractor(feature_size=40).save_pretrained(tmp_path / "whisper")
        reason = r"what WhisperFeatureExtractor makes of a tone is not what WhisperEncoder reads \(.*\); take both"
        with pytest.raises(ValueError, match=f"preprocessor_config.json: {reason} files from one model"):
            load_sound_encoder(str(tmp_path / "whisper"))
        model, _ = write_hubert(tmp_path / "hubert")
        with torch.no_grad():
            model.feature_projection.projection.bias[0] = torch.nan
        model.save_pretrained(tmp_path / "hubert")
        with pytest.raises(ValueError, match="its features of a tone are NaN"):
            load_sound_encoder(str(tmp_path / "hubert"))

    def test_an_extractor_of_another_kind(self, tmp_path):
        write_hubert(tmp_path, "Wav2Vec2")
        transformers.WhisperFeatureExtractor().save_pretrained(tmp_path)
        with pytest.raises(ValueError, match=r"what WhisperFeatureExtractor makes of a tone is not what Wav2Vec2Model"):
            load_sound_encoder(str(tmp_path))

    def test_no_sound_tower(self, tmp_path):
        transformers.BertModel(transformers.BertConfig(**TOWER, vocab_size=20)).save_pretrained(tmp_path)
        with pytest.raises(ValueError, match="of type 'bert', which reads no sounds"):
            load_sound_encoder(str(tmp_path))


class TestConformance(EncoderConformance):
    encoder = "auto-sounds"

    @pytest.fixture(autouse=True)
    def files(self, tmp_path):
        write_hubert(tmp_path / "hubert")
        self.folder = str(tmp_path / "hubert")


class TestCommand:
    def test_windows_and_clips_are_averaged_and_bad_ones_listed(self, tmp_path, capsys):
        write_hubert(tmp_path / "hubert")
        shop = sound_shop(tmp_path, {"a": tone(1), "b_1": tone(0.5), "b_2": tone(0.25, pitch=900), "c": tone(0.01)})
        (tmp_path / "sounds" / "d.mp3").write_bytes(b"no sound")
        command = f"extract --dataset {shop} --modality acoustic --audio sounds --encoder hubert"
        assert main(shlex.split(f"{command} --seconds 0.5 --batch-size 2")) == 0
        table, encoder = read_features(shop, "shop", "acoustic"), load_sound_encoder("hubert")
        assert table.ids == ["a", "b"]
        with torch.no_grad():
            rows = encoder([tone(1)[: RATE // 2], tone(1)[RATE // 2 :], tone(0.5), tone(0.25, pitch=900)]).numpy()
        np.testing.assert_allclose(table.values, [rows[:2].mean(0), rows[2:].mean(0)], rtol=1e-3, atol=1e-5)
        rows = (shop / "shop.acoustic.missing.tsv").read_text()
        assert "shorter than 0.1 seconds" in rows and "d.mp3 cannot be read as a sound" in rows
        assert "e\tno sound" in rows
        facts = json.loads(table.metadata["preprocessing"])
        assert (facts["rate"], facts["seconds"], facts["pooling"]) == (RATE, 0.5, "mean")

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ("--audio sounds --seconds 0", "--seconds: 0.0 must be from 0.1 to 3600.0"),
            ("--audio sounds --seconds nan", "--seconds: nan must be from 0.1 to"),
            ("--audio nowhere", "--audio: there is no folder nowhere"),
            ("--audio images", "has a sound of no item"),
            ("--images images", "which reads no pictures"),
        ],
    )
    def test_bad_input_is_one_line(self, tmp_path, capsys, options, message):
        write_hubert(tmp_path / "hubert")
        shop = sound_shop(tmp_path, {"a": tone(1)})
        capsys.readouterr()  # what writing the encoder shows
        assert main(shlex.split(f"extract --dataset {shop} --modality acoustic --encoder hubert {options}")) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
