"""Closed forms on TikTok's official split give the figures of an independent computation, to the fourth digit.

That computation masks training items alone, leaves out users without training interactions, and takes equal scores,
of which sparse neighbours give many, in the order that `argpartition` of NumPy gives items in the order of their
file. That is another order where the processor has no AVX-512, which that computation had: there the figures of
sparse neighbours are held between those of the held-out items first and last among equal scores.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy._core._multiarray_umath import __cpu_features__ as processor

from recbole_mm.data.converters.mmrec import convert_mmrec
from recbole_mm.host.cold_items import cold_items
from recbole_mm.host.datasets import data_set
from recbole_mm.testing.toy import PRE_SPLIT, Run, start

SETTINGS = {
    **PRE_SPLIT, "eval_history": "train", "metrics": ["Recall", "NDCG"], "topk": [10, 20], "valid_metric": "Recall@20",
    "modalities": ["visual", "acoustic"], "metric_decimal_place": 6,
}  # fmt: skip
NEIGHBOURS = {"k": 10, "keep_self": True}
# recall@10, recall@20, ndcg@10 and ndcg@20 on validation and test data
FIGURES = [
    ("ContentKNN", {"k": 10, "fusion": "concat", "shrink": 10},
     ".0167 .0236 .0104 .0121", ".0131 .0207 .0070 .0089"),
    ("ContentKNN", {**NEIGHBOURS, "modality_weights": {"visual": 0.5, "acoustic": 0.5}},
     ".0171 .0253 .0094 .0114", ".0149 .0233 .0090 .0111"),
    ("ContentKNN", {**NEIGHBOURS, "modality_weights": {"visual": 0.75, "acoustic": 0.25}},
     ".0171 .0269 .0090 .0114", ".0160 .0240 .0092 .0112"),
    ("ContentKNN", {"keep": "none", "modality_weights": {"visual": 0.75, "acoustic": 0.25}},
     ".0187 .0240 .0089 .0101", ".0142 .0229 .0076 .0098"),
    ("ContentEASE", {"reg_weight": 30, "content_weight": 0},
     ".0604 .0903 .0302 .0379", ".0606 .0888 .0329 .0400"),
    ("ContentEASE", {"reg_weight": 30, "content_weight": 1},
     ".0630 .0939 .0318 .0396", ".0632 .0919 .0344 .0417"),
    ("ContentEASE", {"reg_weight": 30, "content_weight": 1000},
     ".0630 .0991 .0323 .0415", ".0632 .0934 .0343 .0420"),
]  # fmt: skip


@pytest.fixture(scope="module")
def tiktok(shared_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiktok")
    convert_mmrec(shared_data / "tiktok", "tiktok", folder)
    return folder


@pytest.mark.parametrize(("model", "settings", "valid", "test"), FIGURES)
def test_figures(tiktok, tmp_path, model, settings, valid, test):
    run = start(model, tiktok, "tiktok", **SETTINGS, **settings, checkpoint_dir=str(tmp_path))
    trainer = run.trainer()
    trainer.fit(run.train_data, run.valid_data, saved=False)
    for loader, expected in ((run.valid_data, valid), (run.test_data, test)):
        found, least, most = figures(run, loader)
        if not settings.get("k") or processor.get("AVX512_SKX"):
            assert found == expected.split()
        assert all(low <= value <= high for low, value, high in zip(least, expected.split(), most, strict=True))
    if model == "ContentEASE":  # which has no equal scores but those of users without a training interaction
        found = trainer.evaluate(run.test_data, load_best_model=False)
        tested = users_of(run.test_data)
        known = len(tested & users_of(run.train_data)) / len(tested)
        expected = [known * float(value) for value in test.split()]
        names = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")
        np.testing.assert_allclose([found[name] for name in names], expected, atol=2e-4)


@pytest.mark.parametrize(
    ("model", "settings", "test", "cold"),
    [
        ("ContentKNN", {"keep": "none", "modality_weights": {"visual": 0.75, "acoustic": 0.25}},
         ".0142 .0229 .0076 .0098", ".1830 .0924"),
        ("ContentEASE", {"reg_weight": 30, "content_weight": 100}, ".0643 .0937 .0348 .0422", ".1629 .0865"),
    ],
)  # fmt: skip
def test_figures_of_its_natural_cold_items(tiktok, tmp_path, model, settings, test, cold):
    """465 items are in validation and test alone; users without training interactions are left out here."""
    run = start(model, tiktok, "tiktok", **SETTINGS, **settings, cold_items="natural", checkpoint_dir=str(tmp_path))
    assert len(cold_items(data_set(run.train_data))) == 465
    trainer = run.trainer()
    trainer.fit(run.train_data, run.valid_data, saved=False)
    found = trainer.evaluate(run.test_data, load_best_model=False)
    names = ["recall@10", "recall@20", "ndcg@10", "ndcg@20", "cold_recall@20", "cold_ndcg@20"]
    assert [f"{found[name]:.4f}".removeprefix("0") for name in names] == [*test.split(), *cold.split()]


def users_of(loader) -> set[int]:
    return set(data_set(loader).inter_feat["user_id"].tolist())


def figures(run: Run, loader) -> list[list[str]]:
    """Recall and NDCG of users with a training interaction, of which all training items are masked.

    With equal scores in NumPy's order, and with the held-out items last and first among them.
    """
    held_out, history = items_by_user(loader), items_by_user(run.train_data)
    tokens = run.dataset.field2id_token["item_id"]
    in_file = 1 + np.argsort([int(token) for token in tokens[1:]])
    users = np.array(sorted(held_out.keys() & history.keys()))
    measured = []
    for block in np.array_split(users, 20):
        scores = run.model.full_sort_predict({"user_id": torch.from_numpy(block)}).view(len(block), -1).numpy()
        for row, user in zip(scores, block, strict=True):
            row[history[user]] = -np.inf
            wanted = np.zeros(len(row), bool)
            wanted[held_out[user]] = True
            row, wanted = row[in_file], wanted[in_file]
            orders = (ranked(row, 20), *ranked_by_hits(row, wanted, 20))
            measured.append([recall_and_ndcg(wanted[best], len(held_out[user])) for best in orders])
    return [[f"{value:.4f}".removeprefix("0") for value in values] for values in np.mean(measured, axis=0)]


def items_by_user(loader) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    table = data_set(loader).inter_feat
    for user, item in zip(table["user_id"].tolist(), table["item_id"].tolist(), strict=True):
        found.setdefault(user, []).append(item)
    return found


def ranked(scores: np.ndarray, k: int) -> np.ndarray:
    best = np.argpartition(-scores.astype(np.float64), k)[:k]
    return best[np.argsort(-scores[best], kind="stable")]


def ranked_by_hits(scores: np.ndarray, is_held_out: np.ndarray, k: int) -> list[np.ndarray]:
    """The k best places with the held-out ones last, and with them first, among equal scores."""
    places = np.flatnonzero(scores >= np.partition(scores, -k)[-k])
    scores, is_held_out = scores[places], is_held_out[places]
    return [places[np.lexsort((key, -scores))[:k]] for key in (is_held_out, ~is_held_out)]


def recall_and_ndcg(hits: np.ndarray, n_held_out: int) -> list[float]:
    discounts = 1 / np.log2(np.arange(2, len(hits) + 2))
    recalls = [hits[:k].sum() / n_held_out for k in (10, 20)]
    ideal = [discounts[: min(k, n_held_out)].sum() for k in (10, 20)]
    return [*recalls, *((hits * discounts)[:k].sum() / best for k, best in zip((10, 20), ideal, strict=True))]
