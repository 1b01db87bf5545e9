"""Every value of every model's grid trains: a search over it loses no setting."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from recbole_mm.registry import MODELS
from recbole_mm.search_space import read_hyper_file
from recbole_mm.setting_rules import properties_dir
from recbole_mm.testing.toy import PRE_SPLIT, start, write_planted

OURS = [name for name in MODELS if MODELS.entry(name).target.__module__.startswith("recbole_mm.") and name != "PTMRec"]
N_ITEMS = 30
SIZES = {"embedding_size": 8, "train_batch_size": 64}  # of wherever the grid has none


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_planted(tmp_path_factory.mktemp("grid"), {"visual": 6, "textual": 4})


@pytest.mark.slow
@pytest.mark.parametrize("model", OURS)
def test_each_value(data, model, tmp_path):
    """An epoch for each row of the grid's columns, the shorter of which begin again.

    On data that have fewer items than some grids have neighbours; those are left out.
    """
    backbone = {"backbone": "VBPR", "stage_one_epochs": 1, "stage_two_epochs": 1} if model == "MARGO" else {}
    columns = {}
    for searched in read_hyper_file(properties_dir() / "hyper" / f"{model}.hyper"):
        values = searched.values if searched.kind == "choice" else [math.exp(power) for power in searched.values]
        columns[searched.name] = [v for v in values if searched.name not in ("k", "knn_k") or v < N_ITEMS]
    for row in range(max(map(len, columns.values()))):
        searched = {name: values[row % len(values)] for name, values in columns.items() if values}
        settings = {**PRE_SPLIT, **SIZES, **backbone, "epochs": 1, "topk": [5], "valid_metric": "Recall@5"}
        run = start(model, data, **{**settings, "checkpoint_dir": str(tmp_path), **searched})
        score, _ = run.trainer().fit(run.train_data, run.valid_data, saved=False)
        assert math.isfinite(score), searched
