"""Nothing that comes from a file is evaluated, unpickled or imported unasked: settings, whatever their source."""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from hyperopt.pyll.stochastic import sample
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.trainer import HyperTuning

from recbole_mm.__main__ import main as run_command_line
from recbole_mm.host.config import StoredSettings
from recbole_mm.load import open_checkpoint
from recbole_mm.quick_start import main as run_main
from recbole_mm.quick_start import objective_function
from recbole_mm.settings import plain_value
from recbole_mm.testing.toy import PRE_SPLIT, QUIET, start, write_planted
from recbole_mm.tuning.command import main as search_main
from tests.forgery import forge

CODE = "__import__('pathlib').Path('PWNED').touch()"
OPENS = "open('PWNED', 'w')"


@pytest.fixture(autouse=True)
def nothing_runs():
    """Every test of this file fails where code of the file has run."""
    yield
    assert not Path("PWNED").exists()


@pytest.fixture
def toy(tmp_path) -> dict:
    return {**QUIET, **PRE_SPLIT, "data_path": str(write_planted(tmp_path / "data", {"visual": 6})), "epochs": 1}


class Bomb:
    """Unpickling it runs code."""

    def __reduce__(self):
        return (exec, (CODE,))


@pytest.mark.parametrize("text", [CODE, OPENS, f"[{OPENS}]", f"{{'a': {OPENS}}}", "lambda: 0", "(1).__class__"])
def test_a_settings_text_is_never_evaluated(text):
    assert plain_value(text, "x") == text or isinstance(plain_value(text, "x"), (list, dict))


@pytest.mark.parametrize("text", [CODE, OPENS])
def test_no_source_of_a_config_is_evaluated(toy, tmp_path, monkeypatch, text):
    (tmp_path / "mine.yaml").write_text(json.dumps({"wandb_project": text}))
    assert Config("BPR", "toy", [str(tmp_path / "mine.yaml")], toy)["wandb_project"] == text
    assert Config("BPR", "toy", config_dict={**toy, "wandb_project": text})["wandb_project"] == text
    assert Config("BPR", "toy", config_dict=StoredSettings({**toy, "wandb_project": text}))["wandb_project"] == text
    monkeypatch.setattr(sys, "argv", ["main", f"--wandb_project={text}"])
    assert Config("BPR", "toy", config_dict=toy)["wandb_project"] == text


@pytest.mark.parametrize("tag", ["!!python/name:os.system", "!!python/object/apply:os.system ['touch PWNED']"])
def test_yaml_makes_no_objects(toy, tmp_path, tag):
    (tmp_path / "mine.yaml").write_text(f"wandb_project: {tag}\n")
    with pytest.raises(ValueError, match=r"mine\.yaml is no yaml: line 1"):
        Config("BPR", "toy", [str(tmp_path / "mine.yaml")], toy)


def test_words_of_a_hyper_file_stay_words(toy, tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text(json.dumps(toy))
    (tmp_path / "mine.hyper").write_text(f'wandb_project choice ["{CODE}", "{OPENS}"]\n')
    files = [f"--params_file={tmp_path / 'mine.hyper'}", f"--config_files={tmp_path / 'mine.yaml'}"]
    assert search_main(["--model=BPR", "--dataset=toy", *files]) == 0
    assert CODE in capsys.readouterr().out


@pytest.mark.parametrize("values", [f"[{CODE} or 8]", f"[{OPENS}.close() or 8]", f"{CODE}", f"(8, {OPENS})"])
def test_recboles_own_tuning_evaluates_no_hyper_file(tmp_path, values):
    """``HyperTuning(params_file=...)``, as a project of RecBole's calls it."""
    (tmp_path / "mine.hyper").write_text(f"learning_rate choice [0.1]\nembedding_size choice {values}\n")
    with pytest.raises(ValueError, match=r"mine\.hyper, line 2: .* is not understood"):
        HyperTuning(objective_function, params_file=str(tmp_path / "mine.hyper"), algo="exhaustive")


def test_recboles_own_tuning_draws_from_what_a_hyper_file_says(tmp_path):
    text = "learning_rate loguniform -8,-1\nembedding_size choice [8, 'a b']\nreg_weight quniform 0,1,0.5\n"
    (tmp_path / "mine.hyper").write_text(text)
    space = HyperTuning(objective_function, params_file=str(tmp_path / "mine.hyper"), algo="random").space
    drawn = [sample(space, rng=np.random.default_rng(seed)) for seed in range(40)]
    assert {settings["embedding_size"] for settings in drawn} == {8, "a b"}
    assert {settings["reg_weight"] for settings in drawn} == {0, 0.5, 1}
    assert all(np.exp(-8) <= settings["learning_rate"] <= np.exp(-1) for settings in drawn)
    (tmp_path / "opens.hyper").write_text("trust_pickle choice [True, False]\n")
    with pytest.raises(ValueError, match="trust_pickle is nothing to search"):
        HyperTuning(objective_function, params_file=str(tmp_path / "opens.hyper"), algo="random")


def test_a_name_in_a_models_settings_is_looked_up_not_evaluated():
    from recbole.model.context_aware_recommender import KD_DAGFM

    assert "eval" not in KD_DAGFM.__init__.__code__.co_names


# ---------------------------------------------------------------- checkpoints


@pytest.fixture
def checkpoint(toy, tmp_path) -> Path:
    """The json of a checkpoint, as another would send it."""
    run = start("VBPR", Path(toy["data_path"]), **PRE_SPLIT, epochs=1, checkpoint_dir=str(tmp_path / "saved"))
    trainer = run.trainer()
    trainer.fit(run.train_data, run.valid_data)
    return Path(trainer.saved_model_file).with_suffix(".json")


def change(checkpoint: Path, **settings) -> Path:
    forge(checkpoint, settings=settings)
    return checkpoint


@pytest.mark.parametrize("key", ["x", "wandb_project", "checkpoint_dir"])
def test_settings_of_a_checkpoint_are_not_evaluated(checkpoint, key):
    assert open_checkpoint(change(checkpoint, **{key: OPENS})).config[key] in (OPENS, None)


@pytest.mark.parametrize("key", ["trust_pickle", "trust_plugins"])
@pytest.mark.parametrize("value", ["yes", "on", "1", 1])
def test_trust_is_true_and_nothing_like_it(toy, key, value):
    with pytest.raises(ValueError, match=f"{key}: .* is not allowed for VBPR; give True or False"):
        Config("VBPR", "toy", config_dict={**toy, key: value})


def test_what_only_training_needs_does_not_keep_a_checkpoint_shut(checkpoint):
    """wandb is not installed here, and 256 processes would have nothing to do."""
    opened = open_checkpoint(change(checkpoint, log_wandb=True, worker=256))
    assert opened.config["log_wandb"] is False and opened.config["worker"] == 0


def test_saved_data_that_a_checkpoint_names_are_not_unpickled(checkpoint, tmp_path):
    bomb = tmp_path / "bomb.pth"
    bomb.write_bytes(pickle.dumps(Bomb()))
    opened = open_checkpoint(change(checkpoint, dataset_save_path=str(bomb), dataloaders_save_path=str(bomb)))
    assert opened.config["dataset_save_path"] is None


def test_saved_data_beside_a_checkpoint_are_not_unpickled(checkpoint):
    for name in ("toy-MultimodalDataset.pth", "toy-for-VBPR-dataloader.pth"):
        (checkpoint.parent / name).write_bytes(pickle.dumps(Bomb()))
    assert open_checkpoint(change(checkpoint, checkpoint_dir=str(checkpoint.parent))).dataset.item_num == 31


def test_a_file_cannot_say_that_it_is_to_be_trusted(checkpoint, tmp_path, toy):
    (tmp_path / "evil_module.py").write_text(CODE)
    change(checkpoint, plugins=["evil_module"], trust_plugins=True, trust_pickle=True)
    with pytest.raises(ValueError, match=f"checkpoint {checkpoint} asks for the modules evil_module.* --trust-plugins"):
        open_checkpoint(checkpoint)
    for key in ("trust_plugins", "trust_pickle"):
        (tmp_path / "mine.yaml").write_text(f"{key}: True\n")
        with pytest.raises(ValueError, match=f"mine.yaml: {key} is yours to give"):
            Config("BPR", "toy", [str(tmp_path / "mine.yaml")], toy)


@pytest.mark.parametrize("command", ["recommend", "export", "analyse"])
def test_commands_import_what_a_checkpoint_names_only_where_told_to(checkpoint, capsys, command):
    Path("named_module.py").write_text("IMPORTED = True\n")
    change(checkpoint, plugins=["named_module"])
    kinds = {"recommend": ["recommend"], "export": ["export"], "analyse": ["analyse", "feature-drift"]}
    arguments = [*kinds[command], str(checkpoint), "--out", "out"]
    sys.modules.pop("named_module", None)
    assert run_command_line(arguments) == 2
    assert "asks for the modules named_module" in capsys.readouterr().err
    assert "named_module" not in sys.modules
    sys.path.insert(0, str(Path.cwd()))
    try:
        assert run_command_line([*arguments, "--trust-plugins"]) == 0
        assert "named_module" in sys.modules
    finally:
        sys.path.remove(str(Path.cwd()))
        sys.modules.pop("named_module", None)


def test_opening_does_not_read_the_command_line(checkpoint, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["script", "--n_layers=7", "--embedding_size=3", "--dataset=other"])
    assert open_checkpoint(checkpoint).config["embedding_size"] == 64


# ---------------------------------------------------------------- yaml files


@pytest.mark.parametrize("key", ["dataset_save_path", "dataloaders_save_path"])
def test_a_pickle_that_a_yaml_names_is_refused(toy, tmp_path, capsys, key):
    (tmp_path / "bomb.pth").write_bytes(pickle.dumps(Bomb()))
    (tmp_path / "mine.yaml").write_text(json.dumps({**toy, key: str(tmp_path / "bomb.pth")}))
    assert run_main(["--model=VBPR", "--dataset=toy", f"--config_files={tmp_path / 'mine.yaml'}"]) == 2
    assert f"error: {key}: {tmp_path / 'bomb.pth'} is a pickle" in capsys.readouterr().err


def test_saved_data_are_opened_where_they_are_trusted(toy, tmp_path):
    saved = {**toy, "checkpoint_dir": str(tmp_path / "saved"), "save_dataset": True, "save_dataloaders": True}
    config = Config("BPR", "toy", config_dict=saved)
    data_preparation(config, create_dataset(config))
    config = Config("BPR", "toy", config_dict={**saved, "trust_pickle": True})
    again = create_dataset(config)
    assert again.config is not config  # the saved one
    untrusted = Config("BPR", "toy", config_dict=saved)
    assert create_dataset(untrusted).config is untrusted


@pytest.mark.parametrize(
    ("key", "saving"), [("dataset_save_path", "save_dataset"), ("dataloaders_save_path", "save_dataloaders")]
)
def test_saved_data_that_are_not_there_are_not_passed_over(toy, key, saving):
    with pytest.raises(ValueError, match=f"^{key}: there is no file nowhere.pth; correct the path, or leave the key "):
        Config("BPR", "toy", config_dict={**toy, key: "nowhere.pth"})
    assert Config("BPR", "toy", config_dict={**toy, key: "nowhere.pth", saving: True})[key] == "nowhere.pth"


def test_saved_data_of_other_settings_are_told(toy, tmp_path, caplog):
    saved = {**toy, "checkpoint_dir": str(tmp_path / "saved"), "save_dataset": True, "save_dataloaders": True}
    config = Config("BPR", "toy", config_dict=saved)
    data_preparation(config, create_dataset(config))
    other = Config("BPR", "toy", config_dict={**saved, "trust_pickle": True, "seed": 7})
    dataset = create_dataset(other)
    assert dataset.config is other
    data_preparation(other, dataset)
    messages = [record.getMessage() for record in caplog.records]
    assert len([message for message in messages if "is passed over: it was saved with seed: " in message]) == 2


def test_modules_that_a_yaml_names_need_trust(toy, tmp_path, capsys):
    Path("yaml_module.py").write_text(CODE)
    (tmp_path / "mine.yaml").write_text(json.dumps({**toy, "plugins": ["yaml_module"]}))
    assert run_main(["--model=VBPR", "--dataset=toy", f"--config_files={tmp_path / 'mine.yaml'}"]) == 2
    assert "mine.yaml asks for the modules yaml_module" in capsys.readouterr().err


def test_a_folder_is_no_module(toy):
    Path("some_folder").mkdir()
    with pytest.raises(ValueError, match="'some_folder' is a folder without an __init__.py"):
        Config("VBPR", "toy", config_dict={**toy, "plugins": ["some_folder"]})
