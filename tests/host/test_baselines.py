"""RecBole's popularity and random recommenders."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from recbole.quick_start import load_data_and_model

from recbole_mm.testing.toy import PRE_SPLIT, start, write_dataset

# i0 four times, i1 three times, one after the other, so that they share a batch
TRAIN = [(f"u{user}", "i0") for user in range(4)] + [(f"u{user}", "i1") for user in range(3)]
TRAIN += [("u4", "i2"), ("u5", "i3"), ("u0", "i3")]
EVALUATED = [("u1", "i4"), ("u4", "i0")]
SETTINGS = {**PRE_SPLIT, "topk": [2], "metrics": ["Recall"], "valid_metric": "Recall@2", "epochs": 3}


@pytest.fixture
def folder(tmp_path) -> Path:
    rows = {f"i{item}": np.ones(2) for item in range(5)}
    splits = {"train": TRAIN, "valid": EVALUATED, "test": EVALUATED}
    return write_dataset(tmp_path / "data", splits, {"visual": rows})


@pytest.mark.parametrize("batch_size, seed", [(1, 3), (5, 2020), (1000, 7)])
def test_popularity_is_the_number_of_training_interactions(folder, batch_size, seed):
    started = start("Pop", folder, **SETTINGS, train_batch_size=batch_size, seed=seed)
    trainer = started.trainer()
    trainer.fit(started.train_data, started.valid_data)
    _, model, dataset, *_ = load_data_and_model(trainer.saved_model_file)
    for counted in (started.model, model):
        found = {token: int(counted.item_cnt[number]) for number, token in enumerate(dataset.field2id_token["item_id"])}
        assert {token: n for token, n in found.items() if n} == Counter(item for _, item in TRAIN)
        assert int(counted.max_cnt) == 4


def test_every_user_gets_items_of_their_own(folder):
    model = start("Random", folder, **SETTINGS).model
    scores = model.full_sort_predict({"user_id": torch.tensor([1, 2, 3])}).view(3, -1)
    assert scores.shape[1] == model.n_items
    assert (scores[0] != scores[1]).any() and (scores[1] != scores[2]).any()
