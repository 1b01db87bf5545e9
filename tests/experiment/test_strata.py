"""Strata and what lists are like, by hand."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch

from recbole_mm.experiment.diversity import diversity_and_novelty
from recbole_mm.experiment.strata import beyond_accuracy, gini, item_strata, recall_and_ndcg, user_strata

ITEMS = pd.DataFrame(
    {"item": list("abcdef"), "training_rows": [6, 3, 2, 1, 0, 0], "imputed_visual": [False] * 4 + [True, False]}
)


def test_items_by_popularity_and_by_what_they_lack():
    strata = item_strata(ITEMS)
    # a third of 12 interactions is 4: a begins the first third, b (before it 6) the second, c (9) and d (11) the last
    of_modality = {"with visual": {"a", "b", "c", "d", "f"}, "without visual": {"e"}}
    assert strata == {"head": {"a"}, "middle": {"b"}, "tail": {"c", "d"}, "cold": {"e", "f"}, **of_modality}


def test_users_by_activity():
    users = pd.DataFrame({"user": list("uvwxyz0"), "training_rows": [1, 2, 3, 4, 5, 6, 0]})
    assert user_strata(users) == {"few": {"u", "v"}, "some": {"w", "x"}, "many": {"y", "z"}, "none": {"0"}}


def test_metrics_of_a_stratum():
    lists = pd.Series({"u": ["a", "b", "c"], "v": ["c", "d", "a"]})
    test = pd.DataFrame({"user": ["u", "u", "v", "w"], "item": ["b", "d", "a", "a"]})
    found = recall_and_ndcg(lists, test, 2)
    assert found["recall"].to_dict() == {"u": 0.5, "v": 0.0}  # w was not tested
    assert found.loc["u", "ndcg"] == pytest.approx((1 / math.log2(3)) / (1 + 1 / math.log2(3)))
    tail = recall_and_ndcg(lists, test, 2, {"c", "d"})
    assert tail["recall"].to_dict() == {"u": 0.0}
    assert recall_and_ndcg(lists, test, 3, {"a"}).loc["v", "ndcg"] == pytest.approx(0.5)


def test_beyond_accuracy_by_hand():
    found = beyond_accuracy(pd.Series({"u": ["a", "c", "x"], "v": ["a", "e", "x"]}), ITEMS, 2)
    assert found["coverage"] == 3 / 6
    assert found["entropy"] == pytest.approx(1.5)  # a half, c and e a quarter each
    assert found["popularity"] == (6 + 2 + 6 + 0) / 4
    assert found["tail share"] == 2 / 4
    assert found["top share"] == 1  # fewer than 100 items


@pytest.mark.parametrize("counts, expected", [([1, 1, 1, 1], 0), ([0, 0, 0, 4], 0.75), ([1, 3], 0.25)])
def test_gini(counts, expected):
    """By its definition: the mean absolute difference of all pairs, by twice the mean."""
    values = np.array(counts, dtype=float)
    by_pairs = np.abs(values[:, None] - values).mean() / (2 * values.mean())
    assert gini(np.array(counts)) == pytest.approx(expected) == pytest.approx(by_pairs)


class Data:
    """As much of a training set as the distances read."""

    uid_field, iid_field, user_num, item_num, modalities = "user", "item", 3, 6, ["visual"]

    def __init__(self):
        self.features = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
        self.known = torch.tensor([False, True, True, True, True, False])
        self.inter_feat = {"user": torch.tensor([1, 1, 2, 1]), "item": torch.tensor([1, 2, 3, 1])}

    def modality_feature(self, name):
        return self.features

    def modality_mask(self, name):
        return self.known


def test_distances_by_hand():
    data = Data()
    users, items = torch.tensor([1, 2]), torch.tensor([[3, 4, 5, 1], [1, 5, 4, 2]])
    found = diversity_and_novelty(data, users, items, 3)
    centred = data.features - data.features[data.known].mean(dim=0)

    def distance(first: int, second: int) -> float:
        return 1 - float(torch.cosine_similarity(centred[first], centred[second], dim=0))

    within = [distance(3, 4), distance(1, 4)]  # item 5 has no features
    between = [
        np.mean([distance(a, b) for a in (3, 4) for b in (1, 2)]),
        np.mean([distance(a, 3) for a in (1, 4)]),
    ]
    assert found["diversity_visual"] == pytest.approx(np.mean(within), rel=1e-6)
    assert found["novelty_visual"] == pytest.approx(np.mean(between), rel=1e-6)
