"""Modules of users' own: imported by every command, in processes that know nothing of them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from recbole.config import Config

from recbole_mm.configuration import checked_config
from recbole_mm.plugins import PluginError, import_plugins
from recbole_mm.testing.toy import PRE_SPLIT, QUIET, write_planted
from tests.commands import run

ROOT = Path(__file__).resolve().parents[1]
ADAPTER = """\
import torch
from recbole_mm import FeatureAdapter, register_adapter

@register_adapter("scale")
class Scale(FeatureAdapter):
    keys = ("scale_start",)

    def __init__(self, width, config):
        super().__init__(width, config)
        self.scale = torch.nn.Parameter(torch.full((width,), float(config["scale_start"])))

    def forward(self, features, behaviour):
        return features * self.scale
"""
MODEL = """\
from recbole_mm import register_model
from recbole_mm.model.vbpr import VBPR

@register_model(paper="none", year=2026)
class OwnVBPR(VBPR):
    pass
"""


WRAPPER = """\
from recbole_mm import register_model
from recbole_mm.model.backbone_model import BackboneModel

@register_model(paper="none", year=2026)
class Halved(BackboneModel):
    def calculate_loss(self, interaction):
        return 0.5 * self.backbone.calculate_loss(interaction)
"""
UNPROJECTED = """\
from recbole_mm import register_model
from recbole_mm.model.base import MultimodalRecommender
from recbole_mm.nn.user_embedding import id_table

@register_model(paper="none", year=2026)
class Unprojected(MultimodalRecommender):
    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.users, self.items = (id_table(n, self.embedding_size) for n in (self.n_users, self.n_items))

    def encode(self):
        return self.users, self.items

    def calculate_loss(self, interaction):
        users, positives, _ = self.batch(interaction)
        return -(self.users[users] * self.items[positives]).sum(dim=1).sigmoid().mean()
"""

WITHOUT_FEATURES = """\
from recbole_mm import register_model
from recbole_mm.model.recommender import Recommender
from recbole_mm.settings import Settings

class OwnSettings(Settings):
    \"\"\"What it has.\"\"\"

    strength: float = 1.0
    \"\"\"How strongly.\"\"\"

@register_model(paper="none", year=2026, settings=OwnSettings)
class WithoutFeatures(Recommender):
    def calculate_loss(self, interaction):
        pass
"""


def test_training_and_an_analysis_find_a_users_model_and_adapter(tmp_path):
    write_planted(tmp_path / "dataset", {"visual": 6})
    (tmp_path / "my_module.py").write_text(ADAPTER + MODEL, encoding="utf-8")
    settings = {"plugins": ["my_module"], "feature_adapter": "scale", "scale_start": 2.0, **PRE_SPLIT, "epochs": 1}
    given = [f"--{key}={value}" for key, value in settings.items()]
    done = run([str(ROOT / "run_recbole_mm.py"), "--model=OwnVBPR", "--dataset=toy", *given], tmp_path)
    assert done.returncode == 0, done.stderr
    (checkpoint,) = (tmp_path / "saved").glob("*.pth")
    command = ["-m", "recbole_mm", "recommend", str(checkpoint), "--out", "top.parquet", "--trust-plugins"]
    done = run(command, tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "top.parquet").is_file()


@pytest.fixture
def plugin(tmp_path):
    """Trains a model of a plugin's."""
    write_planted(tmp_path / "dataset", {"visual": 6})

    def train(source: str, model: str, **settings) -> subprocess.CompletedProcess:
        (tmp_path / "my_module.py").write_text(source, encoding="utf-8")
        merged = {"plugins": ["my_module"], **PRE_SPLIT, "epochs": 1, "embedding_size": 8, **settings}
        given = [f"--{key}={value}" for key, value in merged.items()]
        return run([str(ROOT / "run_recbole_mm.py"), f"--model={model}", "--dataset=toy", *given], tmp_path)

    return train


def test_a_users_model_around_a_backbone(plugin, tmp_path):
    settings = {"backbone": "VBPR", "trainable_features": True, "feature_adapter": "lora", "weak_weight": 0.1}
    done = plugin(WRAPPER, "Halved", **settings)
    assert done.returncode == 0, done.stderr
    (checkpoint,) = (tmp_path / "saved").glob("*.pth")
    command = ["-m", "recbole_mm", "recommend", str(checkpoint), "--out", "top.parquet", "--trust-plugins"]
    done = run(command, tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("source", "model", "settings", "message"),
    [
        (WRAPPER, "Halved", {"backbone": "LayerGCN"}, "backbone: 'LayerGCN' reads no features; choose a multimodal"),
        (WRAPPER, "Halved", {"backbone": "fredom"}, "'fredom' is no model of recbole_mm (did you mean FREEDOM?)"),
        (WRAPPER, "Halved", {"backbone": "Halved"}, "backbone: 'Halved' reads no features"),
        (WRAPPER, "Halved", {"backbone": "PODualGNN"}, "use backbone: DualGNN with user_embedding: prompted"),
        (UNPROJECTED, "Unprojected", {"feature_adapter": "befa"}, "Unprojected has no place for 'befa'"),
        (UNPROJECTED, "Unprojected", {"weak_weight": 0.1}, "weak_weight: Unprojected has no rating per modality"),
    ],
)
def test_bad_settings_of_a_users_model_are_one_line(plugin, source, model, settings, message):
    done = plugin(source, model, **settings)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_models_settings_that_derive_from_no_models_are_refused(tmp_path):
    (tmp_path / "my_module.py").write_text(WITHOUT_FEATURES, encoding="utf-8")
    done = run(["-m", "recbole_mm", "models", "WithoutFeatures", "--plugins=my_module"], tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        "error: plugins: 'my_module': model 'WithoutFeatures' has settings my_module.OwnSettings of another part; "
        "derive them from ModelSettings of recbole_mm\n"
    )


def test_an_adapters_own_key_is_unknown_without_it(tmp_path):
    # An adapter only: a model entered in this process would stand in the table that other tests compare with README.
    (tmp_path / "keys_module.py").write_text(ADAPTER.replace('"scale"', '"scaled"'), encoding="utf-8")
    data = {"data_path": str(write_planted(tmp_path, {"visual": 6}))}
    settings = {**QUIET, **data, "plugins": ["keys_module"], "scale_start": 2.0}
    assert checked_config("VBPR", "toy", config_dict={**settings, "feature_adapter": "scaled"})["scale_start"] == 2.0
    with pytest.raises(ValueError, match="unknown key 'scale_start'"):
        checked_config("VBPR", "toy", config_dict=settings)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import no_such_library\n", r"\(No module named 'no_such_library'\); it is there, and imports no_such_l"),
        ("from recbole_mm import no_such\n", r"\(cannot import name 'no_such' .*\); it is there, and its own code"),
        ("int('x')\n", r"\(invalid literal .*\); it is there, and its own code raised that: mend it"),
    ],
)
def test_a_plugin_that_is_there_and_cannot_be_imported(tmp_path, monkeypatch, source, message):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "importbad.py").write_text(source)
    with pytest.raises(PluginError, match=f"^plugins: 'importbad' cannot be imported {message}") as refused:
        import_plugins(["importbad"])
    assert "working folder" not in str(refused.value)


@pytest.mark.parametrize(
    ("plugins", "message"),
    [
        (["no_such_package.no_such_module"], "named 'no_such_package'.*; the file .* must lie in the working folder"),
        (["no_such_module"], "plugins: 'no_such_module' cannot be imported .* must lie in the working folder"),
        ([3], r"plugins: \[3\] must be a list of module names"),
        ({"a": 1}, "plugins: .* must be a list of module names"),
    ],
)
def test_bad_plugins(tmp_path, plugins, message):
    data = {"data_path": str(write_planted(tmp_path, {"visual": 6}))}
    with pytest.raises(ValueError, match=message):
        checked_config("VBPR", "toy", config_dict={**QUIET, **data, "plugins": plugins})


def test_a_missing_plugin_is_named_rather_than_the_model_it_holds():
    with pytest.raises(ValueError, match="plugins: 'no_such_module' cannot be imported"):
        Config("ModelOfThePlugin", "toy", config_dict={**QUIET, "plugins": ["no_such_module"]})


@pytest.mark.parametrize(
    ("model", "settings", "message"),
    [
        ("FREEDOM", {"weak_weight": 0.1}, "weak_weight: FREEDOM has no rating per modality.*DRAGON, DualGNN"),
        ("BPR", {"user_embedding": "prompted"}, "user_embedding: BPR has no rating per modality"),
        ("BPR", {"feature_adapter": "befa"}, "feature_adapter: BPR is RecBole's own model"),
        ("MARGO", {"backbone": "LightGCN", "embedding_size": 8}, "backbone: 'LightGCN' is no model of recbole_mm"),
        ("PTMRec", {"backbone": "BUIR", "embedding_size": 8}, "backbone: 'BUIR' cannot be tuned with PTMRec"),
        ("BPR", {"feature_adapter": "beffa"}, r"'beffa' is not allowed .*did you mean befa.*the key plugins"),
    ],
)
def test_keys_that_a_model_has_no_place_for(tmp_path, model, settings, message):
    data = {"data_path": str(write_planted(tmp_path, {"visual": 6}))}
    with pytest.raises(ValueError, match=re.compile(message)):
        checked_config(model, "toy", config_dict={**QUIET, **data, **settings})


TAKEN = {
    "register_model(paper='none', year=2026)": ("type('FREEDOM', (VBPR,), OURS)", "model 'FREEDOM' is already reg"),
    "register_model(paper='none', year=2026, variants={'PODualGNN': {}})": (
        "type('Mine', (VBPR,), OURS)", "model 'PODualGNN' of taken: the model 'PODualGNN' is there already",
    ),
    "register_trainer('MMSSL')": ("type('Mine', (MultimodalTrainer,), OURS)", "trainer 'MMSSL' is already registered"),
    "register_adapter('befa')": ("type('Mine', (FeatureAdapter,), OURS)", "feature adapter 'befa' is already"),
    "register_analysis('embedding-map', help='h')": ("lambda checkpoints, arguments: []", "analysis 'embedding-map' "),
    "register_encoder('histograms', reads='pictures')": (
        "type('Mine', (ContentEncoder,), OURS)", "encoder 'histograms' is already registered",
    ),
    "register_tuning('peft')": ("lambda encoder, settings: None", "tuning 'peft' is already registered"),
    "register_converter('table', help='h')": ("type('Mine', (Converter,), OURS)", "converter 'table' is already"),
    "register_propagation('BPR')": (
        "lambda graph, nodes, n_layers, n_modalities, include_layer_0, rows: nodes", "propagation 'BPR' is already",
    ),
}  # fmt: skip


def test_a_plugin_cannot_take_a_name_of_ours_though_it_comes_first(tmp_path):
    """In a process that Python starts, where analyses and converters are imported when a command asks for them."""
    lines = ["from recbole_mm import *", "from recbole_mm.model.vbpr import VBPR", "OURS = {'__module__': 'taken'}"]
    for register, (target, _) in TAKEN.items():
        lines += [f"try: {register}({target})", "except ValueError as error: print(error)", "else: print('entered')"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", "\n".join(lines)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert len(said) == len(TAKEN)
    for line, (_, expected) in zip(said, TAKEN.values(), strict=True):
        assert line.startswith(expected)
        assert "__main__" in line or "taken" in line


def test_a_plugin_with_a_name_of_ours_is_named_by_the_command(tmp_path):
    (tmp_path / "bad_analysis.py").write_text(
        "from recbole_mm import register_analysis\n\n"
        "@register_analysis('embedding-map', help='mine')\ndef mine(checkpoints, arguments):\n    return []\n"
    )
    done = run(["-m", "recbole_mm", "analyse", "embedding-map", "x.pth", "--plugins", "bad_analysis"], tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: plugins: 'bad_analysis': analysis 'embedding-map' is already registered by ")
    assert line.endswith("; choose another name for that of bad_analysis")
    assert "Traceback" not in done.stderr
