"""One loaded data set for several trials."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from recbole.config import Config

from recbole_mm.quick_start import prepare_training
from recbole_mm.testing.toy import QUIET, write_dataset
from recbole_mm.tuning.shared_data import load_shared_data

MODELS = {"POWERec": {}, "FREEDOM": {"knn_k": 3}, "BPR": {}}  # FREEDOM trains its features


@pytest.fixture
def settings(folder, tmp_path) -> dict:
    """Of a run on a copy of the data, to be deleted."""
    shutil.copytree(folder / "toy", tmp_path / "copy" / "toy")
    own = {"dataset": "toy", "data_path": str(tmp_path / "copy"), "checkpoint_dir": "saved", "epochs": 2}
    return own


def config(folder, settings: dict, model: str) -> Config:
    return Config(model, "toy", [str(folder / "toy.yaml")], {**settings, **MODELS[model]})


def train(config: Config, dataset=None) -> tuple:
    trainer, train_data, valid_data, _ = prepare_training(config, dataset)
    score, result = trainer.fit(train_data, valid_data, verbose=False, saved=False)
    return score, result, trainer.model.state_dict()


@pytest.mark.parametrize("model", MODELS)
def test_trials_train_on_it_as_on_their_own_without_any_file(folder, settings, tmp_path, model):
    own = train(config(folder, settings, model))
    shared = load_shared_data(config(folder, settings, model), ["learning_rate"])
    for feature, _ in shared.modalities.values():
        feature.flags.writeable = False  # as in Ray's object store, where writing to it ends the process
    before = {name: feature.copy() for name, (feature, _) in shared.modalities.items()}
    shutil.rmtree(tmp_path / "copy")
    for _ in range(2):
        trial = config(folder, settings, model)
        score, result, weights = train(trial, shared.dataset(trial))
        assert (score, result) == own[:2]
        assert all(torch.equal(weights[name], own[2][name]) for name in own[2])
    assert all(np.array_equal(feature, before[name]) for name, (feature, _) in shared.modalities.items())


@pytest.mark.parametrize("name", ["missing_modality", "modalities", "seed", "user_inter_num_interval"])
def test_nothing_is_shared_where_trials_differ_in_their_data(folder, settings, name):
    assert load_shared_data(config(folder, settings, "POWERec"), [name, "learning_rate"]) is None


def test_the_split_that_recbole_draws_is_the_same(folder, tmp_path):
    """Loading draws no random number, so that the shares of a data set that is not split yet are the same."""
    pairs = [(f"u{user}", f"i{item}") for user in range(12) for item in range(10) if (user + item) % 4]
    features = {"visual": {f"i{item}": np.arange(4) + item for item in range(10)}}
    write_dataset(tmp_path / "whole", {"": pairs}, features, name="whole")
    settings = {
        **QUIET, "data_path": str(tmp_path / "whole"), "checkpoint_dir": "saved", "epochs": 1, "topk": [5],
        "valid_metric": "NDCG@5", "embedding_size": 4,
    }  # fmt: skip
    own = train(Config("POWERec", "whole", config_dict=settings))
    trial = Config("POWERec", "whole", config_dict=settings)
    score, result, weights = train(trial, load_shared_data(trial, ["learning_rate"]).dataset(trial))
    assert (score, result) == own[:2]
    assert all(torch.equal(weights[name], own[2][name]) for name in own[2])
