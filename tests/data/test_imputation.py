"""``missing_modality``: what items without features get, by the training interactions too."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from recbole_mm.data.imputation import impute
from recbole_mm.graph import SparseOperator
from recbole_mm.graph.imputation import IMPUTERS, imputing_weights
from recbole_mm.testing.toy import PRE_SPLIT, start, write_dataset, write_planted

SHARE = {"missing_share": {"visual": 0.4}, "missing_seed": 3}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_planted(tmp_path_factory.mktemp("imputed"), {"visual": 6, "textual": 4})


def started(folder, policy, model="VBPR", **settings):
    return start(model, folder, **{**PRE_SPLIT, **SHARE, "missing_modality": policy, **settings})


def dense_reference(feature, present, weights, kind, steps):
    """``x <- W x`` with what is known set back, or the mean over known neighbours, ``[n_items, width]`` float64."""
    if kind == "neighbor_mean":
        counts = weights[:, present].sum(axis=1, keepdims=True)
        spread = weights[:, present] @ feature[present] / np.where(counts > 0, counts, 1)
        return np.where(present[:, None], feature, spread), present | (counts[:, 0] > 0)
    found, mass = np.where(present[:, None], feature, 0), present.astype(float)
    for _ in range(steps):
        found, mass = weights @ found, weights @ mass
        found[present], mass[present] = feature[present], 1
    return found, mass > 0


@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("kind", IMPUTERS)
def test_models_read_what_training_interactions_give(folder, kind, steps):
    asked = {} if kind == "neighbor_mean" else {"missing_steps": steps}
    run = started(folder, kind, missing_k=4, **asked)
    training = run.model.graph
    weights = imputing_weights(training, kind, 4).to_dense().numpy()
    known = started(folder, "zero").dataset
    for name in ("visual", "textual"):
        feature, present = known.modality_feature(name).double().numpy(), known.modality_mask(name).numpy()
        expected, is_reached = dense_reference(feature, present, weights, kind, steps)
        expected[~is_reached] = feature[present].mean(axis=0)
        expected[0] = 0
        np.testing.assert_allclose(run.model.feature(name).numpy(), expected, rtol=2e-6, atol=1e-6)
        assert torch.equal(run.train_data.dataset.modality_mask(name), known.modality_mask(name))
    assert is_reached[1:].sum() > present.sum()


def test_training_rows_alone(tmp_path):
    """Item d has no features. In training u1 has it with a, in the held-out rows u2 has it with b; c is with nobody."""
    splits = {
        "train": [("u1", "a"), ("u1", "d"), ("u2", "b"), ("u3", "c")],
        "valid": [("u2", "d"), ("u3", "e")],
        "test": [("u3", "d")],
    }
    features = {"visual": {"a": [4.0, 0.0], "b": [0.0, 8.0], "c": [2.0, 4.0]}}
    write_dataset(tmp_path, splits, features)
    run = start("VBPR", tmp_path, **PRE_SPLIT, missing_modality="neighbor_mean")
    rows = dict(zip(run.dataset.field2id_token["item_id"], run.model.feature("visual").tolist(), strict=True))
    assert rows["d"] == [4, 0] and rows["e"] == [2, 4]  # e occurs in validation alone: the mean


def test_without_known_neighbours_an_item_keeps_the_mean():
    feature = np.array([[0, 0], [4, 2], [3, 1], [3, 1]], dtype=np.float32)
    weights = SparseOperator.from_coo(np.array([2, 3]), np.array([1, 3]), np.array([0.5, 1.0]), (4, 4))
    impute(feature, np.array([False, True, False, False]), weights, "multi_hop", 3)
    assert feature.tolist() == [[0, 0], [4, 2], [2, 1], [3, 1]]


def test_rows_are_normalised_after_they_are_imputed(folder):
    run = started(folder, "multi_hop", normalize_feature=True)
    lengths = run.model.feature("visual")[1:].norm(dim=1)
    torch.testing.assert_close(lengths, torch.ones_like(lengths))
    raw = started(folder, "multi_hop").model.feature("visual")
    torch.testing.assert_close(run.model.feature("visual")[1:], torch.nn.functional.normalize(raw[1:]))


def test_noise(folder):
    run = started(folder, "random")
    absent = ~run.dataset.modality_mask("visual")
    absent[0] = False
    rows = run.model.feature("visual")[absent]
    assert rows.min() >= 0 and rows.max() < 1 and len(rows.unique()) == rows.numel() and 0.3 < rows.mean() < 0.7
    assert torch.equal(rows, started(folder, "random").model.feature("visual")[absent])
    assert not torch.equal(rows, started(folder, "random", seed=7).model.feature("visual")[absent])


def test_trained_features_begin_with_them_and_a_pickled_split_has_them_too(folder):
    run = started(folder, "pagerank")
    expected = run.model.feature("visual")
    trained = started(folder, "pagerank", trainable_features=True)
    assert torch.equal(trained.model.feature("visual").detach(), expected)
    again = pickle.loads(pickle.dumps(run.train_data.dataset))
    assert torch.equal(again.modality_feature("visual"), expected)
    assert again.modality_fingerprint("visual") == run.train_data.dataset.modality_fingerprint("visual")
    other = started(folder, "pagerank", missing_k=3).train_data.dataset
    assert other.modality_fingerprint("visual") != again.modality_fingerprint("visual")


def test_the_data_set_before_it_is_split_has_the_mean(folder):
    run = started(folder, "multi_hop")
    before = run.dataset.modality_feature("visual")
    assert torch.equal(before, started(folder, "mean").model.feature("visual"))
    assert not torch.equal(before, run.model.feature("visual"))


@pytest.mark.parametrize(("choice", "are_alone"), [("alone", True), ("imputed", False)])
def test_in_item_graphs(folder, choice, are_alone):
    run = started(folder, "multi_hop", "FREEDOM", missing_in_graphs=choice, knn_k=4)
    graph = run.model.item_graph("visual", 4, "binary").to_dense().numpy()
    absent = np.flatnonzero(~run.dataset.modality_mask("visual").numpy()[1:]) + 1
    assert (np.count_nonzero(graph[absent], axis=1) == 1).all() == are_alone
    assert (np.count_nonzero(graph[1:], axis=1) == 4).all() == (not are_alone)


def interactions_of(run):
    fields = ("user_id", "item_id")
    loaders = (run.train_data, run.valid_data, run.test_data)
    rows = [[run.dataset.id2token(field, loader._dataset.inter_feat[field]) for field in fields] for loader in loaders]
    return [set(zip(*pairs, strict=True)) for pairs in rows]


@pytest.mark.parametrize("settings", [SHARE, {}, {"modalities": ["textual"]}], ids=["hidden", "none", "one"])
def test_items_that_lack_a_modality_are_dropped(folder, settings):
    """i29 lacks both. The splits are those of all items without their rows; what is hidden is the same as ever."""
    whole = start("VBPR", folder, **PRE_SPLIT, **settings, missing_modality="zero")
    masks = [whole.dataset.modality_mask(name) for name in whole.dataset.modalities]
    complete = set(whole.dataset.id2token("item_id", torch.stack(masks).all(dim=0).nonzero().flatten()))
    lists = {"topk": [5], "valid_metric": "Recall@5", "epochs": 1}
    run = start("VBPR", folder, **PRE_SPLIT, **settings, **lists, missing_modality="drop")
    assert set(run.dataset.field2id_token["item_id"][1:]) == complete and len(complete) < 30
    for rows, before in zip(interactions_of(run), interactions_of(whole), strict=True):
        assert rows == {(user, item) for user, item in before if item in complete} and rows
    for name in run.dataset.modalities:
        assert run.dataset.modality_mask(name)[1:].all()
        of_whole = whole.dataset.modality_feature(name)[whole.dataset.token2id("item_id", sorted(complete))]
        own = run.dataset.modality_feature(name)[run.dataset.token2id("item_id", sorted(complete))]
        assert torch.equal(own, of_whole)
    run.trainer().fit(run.train_data, run.valid_data, saved=False)


def test_nothing_left_to_drop_from(tmp_path):
    write_dataset(tmp_path, {"": [("u1", "a"), ("u2", "b")]}, {"visual": {"a": [1.0]}, "textual": {"b": [1.0]}})
    with pytest.raises(ValueError, match="drop leaves no item, as none has all of visual, textual; set another"):
        start("VBPR", tmp_path, missing_modality="drop")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"missing_modality": "heat", "missing_k": 0}, "missing_k: 0 is not allowed"),
        ({"missing_modality": "heat", "missing_steps": 0}, "missing_steps: 0 is not allowed"),
        ({"missing_modality": "page_rank"}, "missing_modality: 'page_rank' is not allowed.*pagerank"),
        ({"missing_in_graphs": "all"}, "missing_in_graphs: 'all' is not allowed.*alone"),
    ],
)
def test_bad_input(folder, settings, message):
    with pytest.raises(ValueError, match=message):
        start("VBPR", folder, **PRE_SPLIT, **settings)
