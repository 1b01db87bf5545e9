"""Published rows and settings: of models and keys that there are, and of data sets that have a yaml."""

from __future__ import annotations

import pytest
from recbole.config import Config

import recbole_mm  # noqa: F401  registers the models
from recbole_mm.io.yaml_files import read_settings_file
from recbole_mm.published import METRICS, published_rows, published_settings
from recbole_mm.registration import recbole_models
from recbole_mm.registry import MODELS, variants
from recbole_mm.setting_rules import own_settings, properties_dir
from recbole_mm.settings import declared_keys

SETTINGS = read_settings_file(properties_dir() / "published" / "settings.yaml")
CASES = [(dataset, model) for dataset, models in SETTINGS.items() for model in models]
DATASETS = ("baby", "sports", "clothing", "elec", "tiktok", "microlens", "allrecipes", "movielens", "lfm2k")
NOT_HERE = {"PORec", "HCCF", "CLCRec", "MMGCL"}  # reported beside ours, and not among the models


def test_rows_are_of_known_data_sets_and_models():
    known = {*MODELS, *variants(), *recbole_models(), *NOT_HERE}
    rows = published_rows()
    assert {row.dataset for row in rows} <= set(DATASETS) and {row.model for row in rows} <= known
    for row in rows:
        assert row.metrics and all(name in METRICS and 0.005 < value < 0.3 for name, value in row.metrics.items())
        for larger, smaller in (("recall@20", "recall@10"), ("ndcg@20", "ndcg@10"), ("recall@10", "ndcg@10")):
            if larger in row.metrics and smaller in row.metrics:
                assert row.metrics[larger] > row.metrics[smaller]


def test_rows_of_one_model():
    (row,) = published_rows("elec", "BM3")
    assert row.metrics == {"recall@10": 0.0437, "recall@20": 0.0648, "ndcg@10": 0.0247, "ndcg@20": 0.0302}
    assert len(published_rows("baby", "FREEDOM")) == 2 and not published_rows("baby", "nothing")


@pytest.mark.parametrize("dataset, model", CASES)
def test_settings_are_of_keys_that_the_model_declares(dataset, model):
    settings = published_settings(dataset, model)
    config = Config(model, "toy", config_dict=settings)
    assert {key: config[key] for key in settings} == settings
    declared = declared_keys(own_settings(config)) | {"learning_rate", "train_batch_size"}
    assert set(settings) <= declared


@pytest.mark.parametrize("dataset", DATASETS)
def test_data_sets_mask_what_the_tables_mask(dataset):
    assert Config("BPR", dataset)["eval_history"] == "train"
    assert Config("BPR", dataset, config_dict={"eval_history": "train_valid"})["eval_history"] == "train_valid"
