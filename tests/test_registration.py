"""What RecBole finds after `import recbole_mm`: names, settings, data sets, samplers."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import recbole.data.dataset
import yaml
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.quick_start import run_recbole
from recbole.utils import get_flops, get_model, get_trainer, init_seed

from recbole_mm import MODELS, register_model, registration, setting_rules
from recbole_mm.data.dataset import MultimodalDataset
from recbole_mm.model.base import MultimodalRecommender
from recbole_mm.testing.toy import PRE_SPLIT, QUIET, start, write_dataset, write_planted
from recbole_mm.trainer.trainer import MultimodalTrainer

# ---------------------------------------------------------------- names


def test_recbole_finds_model_data_set_and_trainer():
    model = get_model("POWERec")
    assert model is MODELS.get("POWERec")
    assert model.__module__ == "recbole_mm.model.powerec"
    assert recbole.data.dataset.POWERecDataset is MultimodalDataset
    assert get_trainer(model.type, "POWERec") is MultimodalTrainer


@pytest.mark.parametrize(
    "name, taken", [("BPR", "BPR"), ("Bpr", "BPR"), ("sasrec", "SASRec"), ("PowerEC", "POWERec")]
)
def test_names_that_are_taken_are_refused(name, taken):
    """RecBole looks for a module of the name in lower case, so that `Bpr` would hide its BPR."""
    with pytest.raises(ValueError, match=f"model '{name}' .* the model '{taken}' is there already"):
        register_model(paper="Mine", year=2026)(type(name, (MultimodalRecommender,), {"calculate_loss": None}))
    assert name not in MODELS
    assert get_model(taken).__name__ == taken


def test_a_model_without_our_base_class_is_refused():
    refusal = "model 'Foreign' is tests.test_registration.Foreign, .* does not derive from .*MultimodalRecommender"
    with pytest.raises(ValueError, match=refusal):
        register_model(paper="Mine", year=2026)(type("Foreign", (GeneralRecommender,), {}))
    assert "Foreign" not in MODELS


@pytest.mark.parametrize("model", ["POWERec", "BPR"])
def test_an_unknown_data_set_is_refused_with_the_closest_name(tmp_path, model):
    config = Config(model, "m-100k", config_dict={"data_path": str(tmp_path)})
    with pytest.raises(ValueError, match=r"holds no data set 'm-100k' \(did you mean ml-100k\?\); there are none"):
        create_dataset(config)
    (tmp_path / "tm-100k").mkdir()
    with pytest.raises(ValueError, match=r"'m-100k' \(did you mean tm-100k\?\); there are tm-100k"):
        create_dataset(config)
    with pytest.raises(ValueError, match=r"there is no folder .*gone; it is .* m-100k/ \(did you mean ml-100k\?\)"):
        run_recbole(model, "m-100k", config_dict={"data_path": str(tmp_path / "gone")})


def test_a_data_set_that_recbole_downloads_is_left_to_it(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(recbole.data.dataset.Dataset, "_download", lambda dataset: asked.append(dataset.dataset_name))
    with pytest.raises(ValueError, match="File .*not exist"):
        create_dataset(Config("BPR", "ml-1m", config_dict={"data_path": str(tmp_path)}))
    assert asked == ["ml-1m"]


# ---------------------------------------------------------------- settings


def test_settings_override_each_other_in_recboles_order(tmp_path, monkeypatch):
    """RecBole's overall.yaml < the model's < the data set's < the user's file < dictionary < command line."""
    own_dir, recbole_dir = setting_rules.properties_dir(), registration.recbole_properties_dir()
    files = [recbole_dir / "overall.yaml", own_dir / "model" / "POWERec.yaml", own_dir / "dataset" / "ml-100k-mm.yaml"]
    epochs = [yaml.safe_load(file.read_text(encoding="utf-8"))["epochs"] for file in files]
    assert len(set(epochs)) == 3
    mine = tmp_path / "mine.yaml"
    mine.write_text("epochs: 11\n")
    assert Config("LayerGCN", "toy")["modalities"] is None
    assert Config("BPR", "toy")["epochs"] == epochs[0]
    assert Config("POWERec", "toy")["epochs"] == epochs[1]
    assert Config("POWERec", "ml-100k-mm")["epochs"] == epochs[2]
    assert Config("POWERec", "ml-100k-mm", [str(mine)])["epochs"] == 11
    assert Config("POWERec", "ml-100k-mm", [str(mine)], {"epochs": 12})["epochs"] == 12
    monkeypatch.setattr(sys, "argv", ["main", "--epochs=13"])
    assert Config("POWERec", "ml-100k-mm", [str(mine)], {"epochs": 12})["epochs"] == 13


FEATURES = {"visual": {"a": [3.0, 4.0], "b": [0.0, 2.0]}, "textual": {"a": [1.0]}}


@pytest.mark.parametrize(
    "key, value",
    [
        ("modalities", ["textual"]),
        ("missing_modality", "zero"),
        ("center_feature", True),
        ("standardize_feature", True),
        ("normalize_feature", True),
    ],
)
def test_our_keys_are_part_of_the_data_set_cache_key(tmp_path, key, value):
    pairs = [("u1", "a"), ("u2", "b"), ("u1", "b")]
    write_dataset(tmp_path, dict.fromkeys(("train", "valid", "test"), pairs), FEATURES)
    settings = {**QUIET, **PRE_SPLIT, "data_path": str(tmp_path), "save_dataset": True}
    first = create_dataset(Config("POWERec", "toy", config_dict={**settings}))
    again = create_dataset(Config("POWERec", "toy", config_dict={**settings}))
    changed = create_dataset(Config("POWERec", "toy", config_dict={**settings, key: value}))
    assert again.config[key] == first.config[key]
    assert again is not first
    described = [
        [data.modality_feature(m).tolist() for m in data.modalities] for data in (first, again, changed)
    ]
    assert described[0] == described[1] != described[2]


# ---------------------------------------------------------------- evaluation

HELD_OUT = {
    "train": [("u1", "a"), ("u1", "b"), ("u2", "c"), ("u3", "d")],
    "valid": [("u1", "c"), ("u2", "d"), ("u3", "a")],
    "test": [("u1", "d"), ("u2", "e"), ("u4", "b")],
}
"""u3 has no test item; u4 has a test item alone."""


def loaders(model: str, data_path: Path, **settings):
    merged = {**QUIET, **PRE_SPLIT, "data_path": str(data_path), "modalities": ["visual"], **settings}
    config = Config(model, "toy", config_dict=merged)
    init_seed(config["seed"], config["reproducibility"])
    return data_preparation(config, create_dataset(config))


@pytest.fixture
def held_out(tmp_path):
    features = {"visual": {item: np.arange(3.0) + number for number, item in enumerate("abcde")}}
    return write_dataset(tmp_path, HELD_OUT, features)


def masked(loader) -> dict[str, set[str]]:
    """The items masked in a full-sort evaluation, by user, in the data set's own ids."""
    data = loader._dataset
    users = data.id2token("user_id", loader.uid_list.numpy())
    history = (
        set(data.id2token("item_id", loader.uid2history_item[user].numpy())) for user in loader.uid_list
    )
    return {str(user): {str(item) for item in items} for user, items in zip(users, history, strict=True)}


@pytest.mark.parametrize("model, negatives", [("POWERec", "uniform"), ("LightGCN", "uniform"), ("LightGCN", None)])
def test_eval_history_is_what_is_masked(held_out, model, negatives):
    settings = {"train_neg_sample_args": negatives and {"distribution": negatives}}
    _, valid, test = loaders(model, held_out, **settings)
    in_training = {"u1": {"a", "b"}, "u2": {"c"}, "u3": {"d"}}
    assert masked(valid) == in_training
    assert masked(test) == {"u1": {"a", "b", "c"}, "u2": {"c", "d"}, "u4": set()}
    _, valid, test = loaders(model, held_out, eval_history="train", **settings)
    assert masked(valid) == in_training
    assert masked(test) == {"u1": {"a", "b"}, "u2": {"c"}, "u4": set()}


@pytest.mark.parametrize(
    "history, free", [("train_valid", {"u1": "e", "u2": "ab"}), ("train", {"u1": "ce", "u2": "abd"})]
)
def test_eval_history_leaves_test_items_out_of_sampled_negatives(held_out, history, free):
    """All free items are drawn in 100 draws of at most 3: a miss has probability 3 (2/3)^100 = 1e-17."""
    _, _, test = loaders("POWERec", held_out, eval_history=history, eval_args={"mode": "uni100"})
    data, candidates = test._dataset, {}
    for interaction, *_ in test:
        users = data.id2token("user_id", interaction["user_id"].numpy())
        items = data.id2token("item_id", interaction["item_id"].numpy())
        for user, item in zip(users, items, strict=True):
            candidates.setdefault(str(user), []).append(str(item))
    for user, items in free.items():
        assert len(candidates[user]) == 101  # the one test item, then its negatives
        assert set(candidates[user][1:]) == set(items)


def test_eval_history_is_part_of_the_loader_cache_key(held_out):
    before = loaders("POWERec", held_out, save_dataloaders=True)[2]
    after = loaders("POWERec", held_out, eval_history="train")[2]
    assert masked(before)["u1"] == {"a", "b", "c"}
    assert masked(after)["u1"] == {"a", "b"}


def test_bad_eval_history(held_out):
    with pytest.raises(ValueError, match="eval_history: 'all' is not allowed for POWERec; give one of train_valid"):
        loaders("POWERec", held_out, eval_history="all")
    with pytest.raises(ValueError, match="eval_history: train .* repeatable: True"):
        loaders("POWERec", held_out, eval_history="train", repeatable=True)


def users_a_batch(loader) -> int:
    return loader.batch_sampler.batch_size


def test_evaluation_batches_hold_500_users_unless_set(held_out):
    n_items = 6
    for model in ("POWERec", "LightGCN"):
        _, valid, test = loaders(model, held_out)
        assert users_a_batch(valid) == users_a_batch(test) == 500
        assert users_a_batch(loaders(model, held_out, eval_batch_users=7)[2]) == 7
        assert users_a_batch(loaders(model, held_out, eval_batch_size=20)[2]) == 20 // n_items
    # RecBole predicts NeuMF pair by pair: its own default stays
    assert users_a_batch(loaders("NeuMF", held_out)[2]) == 4096 // n_items


def test_a_configuration_from_before_the_plugin_is_recboles(held_out):
    """A RecBole checkpoint that was saved without us has none of our keys."""
    config = Config("LightGCN", "toy", config_dict={**QUIET, **PRE_SPLIT, "data_path": str(held_out)})
    for key in ("eval_history", "eval_batch_users"):
        del config.final_config_dict[key]
    test = data_preparation(config, create_dataset(config))[2]
    assert masked(test)["u1"] == {"a", "b", "c"}
    assert users_a_batch(test) == 4096 // 6


def test_flops_of_our_models_are_not_told(tmp_path):
    folder = write_planted(tmp_path / "data", {"visual": 6, "textual": 4})
    run = start("LayerGCN", folder, **PRE_SPLIT)
    assert math.isnan(get_flops(run.model, run.dataset, run.config["device"], None, lambda data, inter: inter))
    run = start("BPR", folder, **PRE_SPLIT)
    assert get_flops(run.model, run.dataset, run.config["device"], None, lambda data, inter: inter) > 0
