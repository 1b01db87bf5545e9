"""Encoders made to run code, to be unpickled, or to lead elsewhere: refused in one line, before a library reads."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from pathlib import Path

import pytest
import torch

from recbole_mm.encoder import load_dual_encoder, load_encoder, load_image_encoder, load_text_encoder
from tests.tiny_clip import write_dual_clip

transformers = pytest.importorskip("transformers")

TYPE = "sentence_transformers.models.Transformer"
LOADERS = (load_encoder, load_dual_encoder, load_image_encoder, load_text_encoder)


class Payload:
    def __reduce__(self):
        return os.mkdir, ("PWNED",)


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return write_dual_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture
def folder(clip, tmp_path) -> Path:
    return Path(shutil.copytree(clip, tmp_path / "encoder"))


def refusal(load, name) -> str:
    with pytest.raises(ValueError, match=f"^encoder {name}.* cannot be loaded: ") as caught:
        load(str(name))
    assert "\n" not in str(caught.value)
    assert not Path("PWNED").exists()
    return str(caught.value)


def write_code(folder: Path) -> None:
    (folder / "evil.py").write_text("import os\nos.mkdir('PWNED')\nclass Evil:\n    pass\n")


@pytest.mark.parametrize("load", LOADERS)
@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
@pytest.mark.parametrize("content", ["null", "[]", "3"])
def test_settings_without_names(folder, load, name, content):
    (folder / name).write_text(content)
    assert f"cannot be loaded: {name} holds no settings by name; replace it" in refusal(load, folder)


@pytest.mark.parametrize("key", ["patch_size", "num_attention_heads", "hidden_size", "image_size"])
def test_a_size_of_nothing(folder, key):
    settings = json.loads((folder / "config.json").read_text())
    settings["vision_config"][key] = 0
    (folder / "config.json").write_text(json.dumps(settings))
    assert f"config.json: {key} is 0, and the least is 1; replace it" in refusal(LOADERS[0], folder)


class TestModuleTypes:
    @pytest.mark.parametrize(
        "kind", ["evil.Evil", "os.abort", "sentence_transformers_evil.A", "org/name--evil.Evil", "", None, 3, ["a"]]
    )
    def test_of_another_package(self, folder, monkeypatch, kind):
        write_code(folder)
        monkeypatch.syspath_prepend(str(folder))  # as where the command is run in the encoder's folder
        (folder / "modules.json").write_text(json.dumps([{"idx": 0, "name": "0", "path": "", "type": kind}]))
        assert "modules.json names" in refusal(load_text_encoder, folder)

    @pytest.mark.parametrize("key", ["types", "tokenizer_class", "activation_function"])
    def test_named_by_a_module_of_its_own(self, folder, key):
        """A Router names types, WordEmbeddings a tokenizer, and Dense a function, each by its dotted path."""
        (folder / "1_Any").mkdir()
        settings = {key: {"a": "evil.Evil"} if key == "types" else "os.abort"}
        (folder / "1_Any" / "router_config.json").write_text(json.dumps(settings))
        (folder / "modules.json").write_text(json.dumps([{"path": "1_Any", "type": TYPE}]))
        assert "1_Any/router_config.json names" in refusal(load_text_encoder, folder)

    @pytest.mark.parametrize("path", ["../outside", "1_Missing", "1_Linked", None])
    def test_in_a_folder_elsewhere(self, folder, path):
        (folder.parent / "outside").mkdir()
        (folder / "1_Linked").symlink_to(folder.parent / "outside")
        (folder / "modules.json").write_text(json.dumps([{"path": path, "type": TYPE}]))
        assert "which is no folder in the encoder's" in refusal(load_text_encoder, folder)

    @pytest.mark.parametrize("content", ["{}", "[3]", "[", "[" * 100_000, "\xff"])
    def test_no_list_of_modules(self, folder, content):
        (folder / "modules.json").write_text(content, encoding="latin-1")
        assert "modules.json is no" in refusal(load_text_encoder, folder)


class TestPickles:
    @pytest.mark.parametrize("load", LOADERS)
    def test_weights(self, folder, load):
        (folder / "model.safetensors").unlink()
        (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Payload()))
        assert "pytorch_model.bin are a pickle, which can run code; ask for model.safetensors" in refusal(load, folder)

    def test_weights_without_harm_are_refused_all_the_same(self, folder):
        (folder / "model.safetensors").unlink()
        torch.save(transformers.CLIPModel.from_pretrained(write_dual_clip(folder.parent / "b")).state_dict(),
                   folder / "pytorch_model.bin")  # fmt: skip
        assert "are a pickle" in refusal(load_image_encoder, folder)

    @pytest.mark.parametrize("name", ["pytorch_model-00001-of-00002.bin", "pytorch_model.bin.index.json"])
    def test_in_shards(self, folder, name):
        (folder / "model.safetensors").unlink()
        (folder / name).write_text('{"weight_map": {"a": "pytorch_model-00001-of-00002.bin"}}')
        assert "are a pickle" in refusal(load_image_encoder, folder)

    def test_of_a_module_in_a_folder_of_its_own(self, folder):
        (folder / "2_Dense").mkdir()
        (folder / "2_Dense" / "pytorch_model.bin").write_bytes(pickle.dumps(Payload()))
        (folder / "modules.json").write_text(json.dumps([{"path": "", "type": TYPE}]))
        assert "2_Dense/pytorch_model.bin are a pickle" in refusal(load_text_encoder, folder)

    def test_beside_safe_weights_are_not_read(self, folder):
        (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Payload()))
        assert load_image_encoder(str(folder)).facts["revision"]
        assert not Path("PWNED").exists()

    @pytest.mark.parametrize("shard", ["pytorch_model.bin", "../other/model.safetensors", 3])
    def test_that_an_index_leads_to(self, folder, shard):
        (folder / "model.safetensors").unlink()
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": shard}}))
        assert "no .safetensors file beside it" in refusal(load_image_encoder, folder)


class TestElsewhere:
    def test_an_adapter(self, folder):
        (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "somebody/else"}))
        assert "it is an adapter" in refusal(load_image_encoder, folder)

    def test_attention_from_the_hub(self, folder):
        config = json.loads((folder / "config.json").read_text())
        config["vision_config"]["_attn_implementation"] = "somebody/kernel"
        (folder / "config.json").write_text(json.dumps(config))
        assert "code on the hub" in refusal(load_image_encoder, folder)

    @pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "tokenizer_config.json"])
    @pytest.mark.parametrize("load", [load_dual_encoder, load_text_encoder])
    def test_code_by_auto_map_never_runs_nor_is_asked_for(self, folder, monkeypatch, name, load):
        monkeypatch.setattr("builtins.input", lambda text: pytest.fail("asked"))
        write_code(folder)
        settings = json.loads((folder / name).read_text()) if (folder / name).exists() else {}
        kinds = ("AutoConfig", "AutoModel", "AutoTokenizer", "AutoImageProcessor")
        settings["auto_map"] = {kind: "evil.Evil" for kind in kinds}
        (folder / name).write_text(json.dumps(settings))
        try:
            load(str(folder))
        except ValueError as error:
            assert "\n" not in str(error)
        assert not Path("PWNED").exists()


class TestHub:
    """A hub's cache as its client writes it, and no network: the same checks."""

    @pytest.fixture
    def cached(self, clip, tmp_path, monkeypatch) -> Path:
        from huggingface_hub import constants

        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
        repository = tmp_path / "models--some--clip"
        snapshot = Path(shutil.copytree(clip, repository / "snapshots" / ("a" * 40)))
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text("a" * 40)
        return snapshot

    def test_the_revision_is_the_commit(self, cached):
        for load in (load_dual_encoder, load_image_encoder, load_text_encoder):
            assert load("some/clip").facts == load("some/clip").facts | {"encoder": "some/clip", "revision": "a" * 40}

    def test_module_types(self, cached):
        (cached / "modules.json").write_text(json.dumps([{"path": "", "type": "evil.Evil"}]))
        assert "'evil.Evil'" in refusal(load_text_encoder, "some/clip")

    def test_pickles(self, cached):
        (cached / "model.safetensors").unlink()
        (cached / "pytorch_model.bin").write_bytes(pickle.dumps(Payload()))
        assert "are a pickle" in refusal(load_image_encoder, "some/clip")

    def test_none_of_that_name(self, cached):
        assert "which is no folder, from the hub" in refusal(load_image_encoder, "some/other")


def with_config(folder: Path, tower: str | None = None, **changed) -> Path:
    config = json.loads((folder / "config.json").read_text())
    (config if tower is None else config[tower]).update(changed)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


class TestSettings:
    """Values that libraries stumble over, each in its own way, or are at for hours."""

    @pytest.mark.parametrize("load", LOADERS)
    @pytest.mark.parametrize("changed", [{"projection_dim": "x"}, {"dtype": "__import__('os')"}, {"vision_config": 3}])
    def test_of_another_type(self, folder, load, changed):
        assert "cannot be loaded: config.json: " in refusal(load, with_config(folder, **changed))

    @pytest.mark.parametrize("load", LOADERS)
    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("num_hidden_layers", 10_000_000),
            ("num_hidden_layers", 1e300),
            ("num_attention_heads", 1001),
            ("hidden_size", 1 << 17),
            ("vocab_size", 1 << 22),
            ("image_size", 1_000_000_000),
            ("depths", [2, 2, 1001]),
        ],
    )
    def test_enormous(self, folder, load, key, value):
        message = refusal(load, with_config(folder, "vision_config", **{key: value}))
        assert f"config.json: {key} is " in message and ", and the most is " in message

    @pytest.mark.parametrize("load", LOADERS)
    @pytest.mark.parametrize(
        ("key", "value", "reason"),
        [
            ("layer_norm_eps", float("nan"), "layer_norm_eps is NaN, which is no number; replace it"),
            ("layer_norm_eps", 1e300, "layer_norm_eps is 1e+300, and what keeps a division from 0 is from 0 to 1"),
            ("layer_norm_eps", -1, "layer_norm_eps is -1, and what keeps a division from 0 is from 0 to 1"),
            ("hidden_act", "os.system", "hidden_act is 'os.system', which transformers does not know"),
            ("dtype", "bogus", "dtype is 'bogus', which is no kind of number; float32 is one"),
            ("patch_size", 0, "patch_size is 0, and the least is 1"),
        ],
    )
    def test_a_value_that_is_none_of_its_choices(self, folder, load, key, value, reason):
        for tower in ("vision_config", "text_config"):
            with_config(folder, tower, **{key: value})
        assert f"cannot be loaded: config.json: {reason}" in refusal(load, folder)

    def test_words_of_a_classifier_are_no_settings(self, folder):
        assert load_image_encoder(str(with_config(folder, label2id={"building blocks": 1200})))

    def test_a_crop_that_enlarges_pictures(self, folder):
        assert "crop_pct is 1e-06, and the least is 0.1" in refusal(
            load_image_encoder, with_config(folder, pretrained_cfg={"crop_pct": 1e-6})
        )

    def test_fewer_than_no_layers(self, folder):
        assert "num_hidden_layers is -1, and the least is 0" in refusal(
            load_image_encoder, with_config(folder, "text_config", num_hidden_layers=-1)
        )

    @pytest.mark.parametrize("load", LOADERS)
    def test_of_another_model_than_the_weights(self, folder, load):
        for tower in ("vision_config", "text_config"):
            with_config(folder, tower, intermediate_size=7)
        message = refusal(load, folder)
        assert "model.safetensors, as config.json describes it: weights have other shapes; take both" in message

    @pytest.mark.parametrize("load", [load_encoder, load_dual_encoder, load_image_encoder])
    def test_of_pictures_in_another_size(self, folder, load):
        settings = json.loads((folder / "preprocessor_config.json").read_text())
        (folder / "preprocessor_config.json").write_text(
            json.dumps(settings | {"size": {"shortest_edge": 64}, "crop_size": {"height": 64, "width": 64}})
        )
        assert "makes pictures of 64 x 64, and config.json's image_size is 32; take" in refusal(load, folder)


class TestNoFiles:
    @pytest.mark.parametrize("load", LOADERS)
    @pytest.mark.parametrize("name", ["model.safetensors", "preprocessor_config.json", "tokenizer.json"])
    @pytest.mark.parametrize("kind", ["a pipe", "a device", "a folder", "there is no file"])
    def test_names_that_a_library_would_read(self, folder, load, name, kind):
        (folder / name).unlink()
        if kind == "a pipe":
            os.mkfifo(folder / name)
        else:
            target = {"a device": "/dev/zero", "a folder": folder.parent, "there is no file": folder / "none"}[kind]
            (folder / name).symlink_to(target)
        message = refusal(load, folder)
        assert kind in message and name in message
