"""Strict cold start by items: the split, what training sees of it, and metrics of each candidate set."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recbole_mm.host.cold_items import cold_items
from recbole_mm.host.datasets import data_set
from recbole_mm.host.user_results import evaluate_users
from recbole_mm.testing.toy import PRE_SPLIT, start, write_dataset, write_planted

COLD = {"cold_items": 0.2, "topk": [3, 5], "metrics": ["Recall", "NDCG"], "valid_metric": "Recall@5",
        "metric_decimal_place": 9, "embedding_size": 8, "train_batch_size": 64, "epochs": 1}  # fmt: skip


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    return write_planted(tmp_path_factory.mktemp("planted"), {"visual": 6, "textual": 4})


def pairs(run, number):
    """``(user, item)`` of a split, by the ids of the files."""
    dataset = data_set((run.train_data, run.valid_data, run.test_data)[number])
    users, items = (dataset.id2token(field, dataset.inter_feat[field].numpy()) for field in ("user_id", "item_id"))
    return list(zip(users, items, strict=True))


def written(folder):
    return {
        split: [
            tuple(line.split("\t")) for line in (folder / "toy" / f"toy.{split}.inter").read_text().split("\n")[1:-1]
        ]
        for split in ("train", "valid", "test")
    }


def tokens_of(run):
    return set(run.dataset.id2token("item_id", cold_items(data_set(run.train_data))))


def test_cold_items_are_held_out_with_all_their_interactions(planted):
    run = start("VBPR", planted, **PRE_SPLIT, **COLD)
    cold, source = tokens_of(run), written(planted)
    train, valid, test = (pairs(run, number) for number in range(3))
    assert len(cold) == 6  # of 30
    assert not cold & {item for _, item in train}
    in_valid, in_test = (cold & {item for _, item in rows} for rows in (valid, test))
    assert len(in_valid) == len(in_test) == 3 and not in_valid & in_test
    known = {user for user, _ in train}
    every = [row for rows in source.values() for row in rows]
    of_cold = [(user, item) for user, item in every if item in cold and user in known]
    assert sorted(of_cold) == sorted(row for row in [*valid, *test] if row[1] in cold)
    for split, rows in (("valid", valid), ("test", test)):  # warm rows stay where they are known to training
        trained = [row for row in source["train"] if row[1] not in cold]
        users, items = ({row[place] for row in trained} for place in (0, 1))
        stays = [row for row in source[split] if row[1] not in cold and row[0] in users and row[1] in items]
        assert sorted(stays) == sorted(row for row in rows if row[1] not in cold)
    left_out = [row for row in every if row[1] in cold and row[0] not in known]
    assert sorted([*train, *valid, *test, *left_out]) == sorted(every)


def test_users_without_training_rows(tmp_path, caplog):
    """u5 has cold items alone, of the natural ones; a held-out row of u6, who is not in training, goes there."""
    splits = {
        "train": [(f"u{user}", item) for user in range(1, 5) for item in "abc"] + [("u4", "d")],
        "valid": [("u1", "e"), ("u2", "f"), ("u1", "x"), ("u5", "x"), ("u6", "a")],
        "test": [("u3", "e"), ("u4", "f"), ("u2", "y"), ("u5", "y"), ("u6", "b")],
    }
    features = {"visual": {item: [1.0, float(ord(item))] for item in "abcdefxy"}}
    folder = write_dataset(tmp_path, splits, features)
    caplog.set_level("INFO")
    with pytest.raises(ValueError, match="leaves no interaction with a warm item in validation"):
        start("BPR", folder, **PRE_SPLIT, **{**COLD, "cold_items": "natural"})
    splits["valid"].append(("u3", "f"))
    splits["train"].append(("u1", "f"))
    splits["test"].append(("u2", "f"))
    folder = write_dataset(tmp_path / "again", splits, features)
    run = start("BPR", folder, **PRE_SPLIT, **{**COLD, "cold_items": "natural"})
    assert tokens_of(run) == {"e", "x", "y"}
    assert pairs(run, 0) == splits["train"]
    assert {user for number in range(3) for user, _ in pairs(run, number)} == {"u1", "u2", "u3", "u4"}
    assert "2 users without one are left out, with 4 interactions" in caplog.text


@pytest.mark.parametrize("settings", [{}, {"cold_seed": 5}, {"seed": 3}, {"cold_seed": 5, "seed": 3}])
def test_the_seed_draws_them_whatever_the_model(planted, settings):
    found = [tokens_of(start(model, planted, **PRE_SPLIT, **COLD, **settings)) for model in ("VBPR", "BPR")]
    assert found[0] == found[1]
    usual = tokens_of(start("BPR", planted, **PRE_SPLIT, **COLD))
    assert (found[0] == usual) == (settings == {})


def test_data_that_recbole_splits(planted, tmp_path):
    rows = [row for split in written(planted).values() for row in split]
    folder = write_dataset(tmp_path, {"": rows}, {})
    run = start("BPR", folder, **COLD)
    cold = tokens_of(run)
    assert len(cold) == 6 and not cold & {item for _, item in pairs(run, 0)}
    assert {item for number in (1, 2) for _, item in pairs(run, number)} >= cold


# ---------------------------------------------------------------- training


def drawn(run):
    if hasattr(run.model, "user_batches"):
        batches = list(run.model.user_batches)
    else:
        batches = list(run.train_data)
    return {int(item) for batch in batches for item in batch["neg_item_id"]}


@pytest.mark.parametrize("sampling", ["uniform", "popularity"])
@pytest.mark.parametrize("model", ["BPR", "SiBraR", "MMSSL"])
def test_negative_items_are_warm(planted, model, sampling):
    cold_sets = []
    for allowed in (False, True):
        settings = {"train_neg_sample_args": {"distribution": sampling, "sample_num": 5}, "cold_negatives": allowed}
        run = start(model, planted, **PRE_SPLIT, **COLD, **settings)
        cold_sets.append(drawn(run) & set(cold_items(data_set(run.train_data)).tolist()))
        if hasattr(run.model, "slots"):  # which normalises all rows that it gets together
            slots = [run.model.slots(batch)[1] for batch in run.train_data]
            assert not {int(item) for items in slots for item in items.flatten()} & cold_sets[0]
    assert not cold_sets[0] and len(cold_sets[1]) == 6


def test_a_user_with_all_warm_items_is_named(tmp_path):
    splits = {
        "train": [("u1", "a"), ("u1", "b"), ("u1", "c"), ("u2", "a")],
        "valid": [("u1", "x"), ("u2", "b")],
        "test": [("u1", "y"), ("u2", "c")],
    }
    folder = write_dataset(tmp_path, splits, {})
    for allowed in (False, True):
        sampling = {"distribution": "uniform", "sample_num": 50}
        settings = {**PRE_SPLIT, **COLD, "cold_items": "natural", "cold_negatives": allowed}
        settings["train_neg_sample_args"] = sampling
        if allowed:
            assert drawn(start("BPR", folder, **settings)) == {2, 3, 4, 5}
            continue
        with pytest.raises(ValueError, match="'u1' has all 3 items that have interactions, and no negative item"):
            start("BPR", folder, **settings)


def test_no_cold_item_is_in_a_graph(planted):
    for model in ("LayerGCN", "DRAGON", "MMSSL", "DiffMM"):
        run = start(model, planted, **PRE_SPLIT, **COLD)
        assert not set(run.model.graph.items.tolist()) & set(cold_items(data_set(run.train_data)).tolist())


# ---------------------------------------------------------------- candidate sets


def by_hand(run, kind):
    """Recall and NDCG at 3 of each user with such an item held out, of scores without any mask."""
    cold = cold_items(data_set(run.train_data))
    is_candidate = np.isin(np.arange(run.dataset.item_num), cold) == (kind == "cold")
    is_candidate |= kind == "all"
    is_candidate[0] = False
    rows = [data_set(loader).inter_feat for loader in (run.train_data, run.valid_data, run.test_data)]
    splits = [list(zip(table["user_id"].tolist(), table["item_id"].tolist(), strict=True)) for table in rows]
    found = {}
    for user in sorted({user for user, item in splits[2] if is_candidate[item]}):
        wanted = {item for owner, item in splits[2] if owner == user and is_candidate[item]}
        known = {item for rows in splits[:2] for owner, item in rows if owner == user}
        scores = run.model.full_sort_predict({"user_id": torch.tensor([user])}).detach().numpy().ravel()
        ranked = [item for item in np.argsort(-scores, kind="stable") if is_candidate[item] and item not in known][:3]
        gains = [1 / np.log2(place + 2) for place, item in enumerate(ranked) if item in wanted]
        ideal = sum(1 / np.log2(place + 2) for place in range(min(3, len(wanted))))
        found[user] = len(gains) / len(wanted), sum(gains) / ideal
    return found


@pytest.mark.parametrize("model", ["VBPR", "BPR", "SiBraR", "ContentEASE"])
def test_metrics_of_each_candidate_set(planted, model):
    run = start(model, planted, **PRE_SPLIT, **{**COLD, "cold_items": 0.5})
    trainer = run.trainer()
    trainer.fit(run.train_data, run.valid_data, saved=False)
    run.model.eval()
    found = trainer.evaluate(run.test_data, load_best_model=False)
    users = evaluate_users(trainer, run.test_data, load_best_model=False)
    for prefix, kind in (("", "all"), ("warm_", "warm"), ("cold_", "cold")):
        expected = np.mean(list(by_hand(run, kind).values()), axis=0)
        assert 0 < expected[0] < 1
        names = (f"{prefix}recall@3", f"{prefix}ndcg@3")
        np.testing.assert_allclose([found[name] for name in names], expected, atol=1e-6)
        np.testing.assert_allclose([users.averages[name] for name in names], expected, atol=1e-6)
        of_users = np.stack([{**users.metrics, **users.of_candidates}[name] for name in names], axis=1)
        tested = run.dataset.token2id("user_id", users.users)
        nothing = (np.nan, np.nan)
        np.testing.assert_allclose(of_users, [by_hand(run, kind).get(user, nothing) for user in tested], atol=1e-6)
    assert len(users.users) == len(users.items) == len(by_hand(run, "all"))
    assert not [name for name in trainer.evaluate(run.valid_data, load_best_model=False) if "_" in name]


def test_content_tells_of_cold_items(planted):
    """Groups are planted in the features, which a model of IDs alone cannot see of items that nobody has."""
    recalls = {}
    for model in ("ContentKNN", "BPR"):
        run = start(model, planted, **PRE_SPLIT, **{**COLD, "cold_items": 0.5, "epochs": 30, "learning_rate": 0.02})
        trainer = run.trainer()
        trainer.fit(run.train_data, run.valid_data, saved=False)
        recalls[model] = trainer.evaluate(run.test_data, load_best_model=False)["cold_recall@5"]
    assert recalls["ContentKNN"] > 0.8 > recalls["BPR"] + 0.3


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cold_items": 0}, r"cold_items: 0 is not allowed"),
        ({"cold_items": 1}, r"cold_items: 1 is not allowed"),
        ({"cold_items": "none"}, r"cold_items: 'none' is not allowed.*a number above 0 and below 1 or one of natural"),
        ({"cold_items": 0.02}, r"cold_items: 0.02 of 30 items are 1; validation and test need one each"),
        ({"cold_items": 0.99}, r"cold_items: 0.99 of 30 items are 30; .* training at least one"),
        ({"cold_items": "natural"}, r"cold_items: natural: every item of 'toy' is in training; give a share"),
        ({"cold_seed": -1}, r"cold_seed: -1 is not allowed"),
        ({"eval_args": {"mode": "uni10"}}, r"cold_items: 0.2 ranks all items, and eval_args: mode: uni10 does not"),
    ],
)
def test_bad_input(planted, settings, message):
    with pytest.raises(ValueError, match=message):
        start("BPR", planted, **PRE_SPLIT, **{**COLD, **settings})
