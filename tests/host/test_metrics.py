"""RecBole's metrics of coverage, popularity and diversity against values computed by hand."""

from __future__ import annotations

import math
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
from recbole.data.interaction import Interaction

from recbole_mm.quick_start import prepare_training, run
from recbole_mm.testing.toy import PRE_SPLIT, start, write_dataset

NAMES = ["ItemCoverage", "AveragePopularity", "ShannonEntropy", "GiniIndex", "TailPercentage"]
# i0 is in 3 training interactions, i1 in 2, i2 and i3 in 1; everyone tests on i4, which is in none
TRAIN = [("u0", "i0"), ("u1", "i0"), ("u2", "i0"), ("u0", "i1"), ("u1", "i1"), ("u2", "i2"), ("u3", "i3")]
EVALUATED = [(f"u{user}", "i4") for user in range(4)]
SETTINGS = {**PRE_SPLIT, "metrics": NAMES, "topk": [1, 2], "valid_metric": "ItemCoverage@2", "embedding_size": 4,
            "train_batch_size": 4, "epochs": 1, "metric_decimal_place": 6, "tail_ratio": 0.5}  # fmt: skip


@pytest.fixture
def folder(tmp_path) -> Path:
    splits = {"train": TRAIN, "valid": EVALUATED, "test": EVALUATED}
    rows = {f"i{item}": np.ones(2) for item in range(5)}
    return write_dataset(tmp_path / "data", splits, {"visual": rows})


def metrics_of(started, recommended: list[list[str]]) -> dict[str, float]:
    """The metrics where these two items are recommended to each user."""
    trainer = started.trainer()
    collector = trainer.eval_collector
    collector.data_collect(started.train_data)
    scores = torch.zeros(len(recommended), started.dataset.item_num)
    for user, items in enumerate(recommended):
        for place, item in enumerate(items):
            scores[user, started.dataset.token2id("item_id", item)] = 2 - place
    nobody = torch.zeros(0, dtype=torch.long)
    collector.eval_batch_collect(scores, Interaction({}), nobody, nobody)
    return dict(trainer.evaluator.evaluate(collector.get_data_struct()))


def test_values_are_those_of_the_formulas(folder):
    started = start("BPR", folder, **SETTINGS)
    found = metrics_of(started, [["i0", "i1"], ["i0", "i2"], ["i0", "i1"], ["i3", "i4"]])
    # of 8 places i0 has 3, i1 2, i2, i3 and i4 1 each; sorted 1 1 1 2 3, with weights -4 -2 0 2 4 of 5 items
    assert found["itemcoverage@2"] == 1.0
    assert found["itemcoverage@1"] == 0.4
    assert found["averagepopularity@1"] == pytest.approx((3 + 3 + 3 + 1) / 4)
    assert found["averagepopularity@2"] == pytest.approx((2.5 + 2 + 2.5 + 0.5) / 4)
    shares = [3 / 8, 2 / 8, 1 / 8, 1 / 8, 1 / 8]
    assert found["shannonentropy@2"] == pytest.approx(-sum(p * math.log(p) for p in shares), abs=1e-6)
    assert found["giniindex@2"] == pytest.approx((-4 - 2 + 0 + 2 * 2 + 4 * 3) / (5 * 8))
    # the rarer half of the four training items: i2 and i3
    assert found["tailpercentage@2"] == pytest.approx((0 + 0.5 + 0 + 0.5) / 4)


def test_items_recommended_equally_often(folder):
    found = metrics_of(start("BPR", folder, **SETTINGS), [[f"i{item}", f"i{(item + 1) % 5}"] for item in range(5)])
    assert found["giniindex@2"] == found["giniindex@1"] == 0
    assert found["shannonentropy@1"] == pytest.approx(math.log(5), abs=1e-6)


def test_tail_by_number_of_interactions(folder):
    started = start("BPR", folder, **{**SETTINGS, "tail_ratio": 2})
    found = metrics_of(started, [["i0", "i1"], ["i0", "i2"], ["i0", "i1"], ["i3", "i4"]])
    assert found["tailpercentage@2"] == pytest.approx((0.5 + 0.5 + 0.5 + 0.5) / 4)


def test_evaluation_without_a_training(folder):
    config = start("BPR", folder, **SETTINGS).config
    trainer, _, _, test_data = prepare_training(config)
    assert 0 < trainer.evaluate(test_data, load_best_model=False)["itemcoverage@2"] <= 1


@pytest.mark.slow
def test_two_processes_measure_what_one_measures(folder, forked):
    with socket.socket() as listening:
        listening.bind(("localhost", 0))
        port = listening.getsockname()[1]
    settings = {**SETTINGS, "data_path": str(folder), "gpu_id": "", "state": "ERROR", "show_progress": False}
    settings |= {"learning_rate": 0.0}  # so that both end with the same weights
    results = [
        run("LayerGCN", "toy", config_dict={**settings, "checkpoint_dir": f"saved-{n}"}, nproc=n, port=str(port))
        for n in (1, 2)
    ]
    assert results[0]["test_result"] == results[1]["test_result"]
    assert set(results[0]["test_result"]) == {f"{name.lower()}@{k}" for name in NAMES for k in (1, 2)}
