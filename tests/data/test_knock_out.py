"""Knock-outs of modalities: what the features are, that graphs are built from them, and what they leave alone."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

from recbole_mm.data.knock_out import KNOCK_OUTS, knock_out
from recbole_mm.load import open_checkpoint
from recbole_mm.testing.toy import PRE_SPLIT, start, write_planted


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_planted(tmp_path_factory.mktemp("data"), {"visual": 6, "textual": 4})


def features(folder, name="visual", **settings):
    return start("VBPR", folder, **PRE_SPLIT, **settings).dataset.modality_feature(name).numpy()


@pytest.mark.parametrize("kind", KNOCK_OUTS)
def test_one_modality_is_replaced_and_the_other_is_as_it_was(folder, kind):
    real, other = features(folder), features(folder, "textual")
    replaced = features(folder, knock_out={"visual": kind})
    np.testing.assert_array_equal(features(folder, "textual", knock_out={"visual": kind}), other)
    assert replaced.shape == real.shape and not replaced[0].any()
    rows = replaced[1:]
    if kind == "shuffle":  # the same rows, in another order
        assert sorted(map(tuple, rows)) == sorted(map(tuple, real[1:]))
        assert (rows != real[1:]).any(axis=1).mean() > 0.8
    elif kind in ("constant", "zero"):
        assert (rows == (kind == "constant")).all()
    elif kind == "mean":
        np.testing.assert_allclose(rows, np.broadcast_to(real[1:].mean(axis=0), rows.shape), rtol=1e-5)
    else:  # 180 or more normal numbers: within 5 standard errors of their mean
        mean, deviation = (0, 1) if kind == "noise" else (1, 0.1)
        assert abs(rows.mean() - mean) < 5 * deviation / np.sqrt(rows.size)
        assert rows.std() == pytest.approx(deviation, rel=0.3)


def test_each_modality_and_each_seed_has_an_order_of_its_own():
    orders = []
    for name, seed in (("visual", 1), ("textual", 1), ("visual", 2), ("visual", 1)):
        rows = np.arange(51, dtype=np.float32)[:, None]
        knock_out(rows, np.arange(51) > 0, "shuffle", name, seed)
        orders.append(tuple(rows[:, 0]))
    assert len(set(orders)) == 3 and orders[0] == orders[3]


def test_items_without_a_row_stay_without(folder):
    rows, present = np.zeros((5, 3), np.float32), np.array([False, True, False, True, True])
    for kind in KNOCK_OUTS:
        knock_out(rows, present, kind, "visual", 0)
        assert not rows[~present].any()


def test_item_graphs_are_of_the_replaced_features(folder):
    """And a checkpoint says what it was trained on."""
    graphs = []
    for knocked_out in (None, {"visual": "shuffle", "textual": "shuffle"}):
        run = start("FREEDOM", folder, **PRE_SPLIT, knn_k=4, epochs=1, knock_out=knocked_out)
        graphs.append(run.model.fused_item_graph.to_dense())
    assert not torch.equal(*graphs)
    trainer = run.trainer()
    trainer.fit(run.train_data, run.valid_data, verbose=False)
    opened = open_checkpoint(trainer.saved_model_file)
    assert opened.config["knock_out"] == {"visual": "shuffle", "textual": "shuffle"}
    assert torch.equal(opened.dataset.modality_feature("visual"), run.dataset.modality_feature("visual"))


@pytest.mark.parametrize(("model", "own"), [("FREEDOM", {"knn_k": 4}), ("VBPR", {}), ("LATTICE", {"knn_k": 4})])
def test_an_order_that_gives_every_item_its_own_row_back_changes_nothing(folder, tmp_path, model, own):
    """A file in an order that the shuffle turns back into the real one: the same losses and the same test."""
    settings = {**PRE_SPLIT, **own, "epochs": 2, "topk": [5], "valid_metric": "Recall@5", "seed": 7}
    real = start(model, folder, **settings)
    tokens = real.dataset.field2id_token["item_id"]
    table, present = (read("visual").numpy() for read in (real.dataset.modality_feature, real.dataset.modality_mask))
    places = np.arange(len(tokens))
    knock_out(places[:, None], present, "shuffle", "visual", 7)  # the row that each item gets
    other = shutil.copytree(folder, tmp_path / "data")
    lines = ["item_id:token\tvisual_feature:float_seq"]
    for place in np.flatnonzero(present):
        lines.append(f"{tokens[places[place]]}\t{' '.join(repr(float(x)) for x in table[place])}")
    (other / "toy/toy.visual").write_text("\n".join(lines) + "\n")
    assert (places != np.arange(len(tokens))).mean() > 0.8
    results = []
    for place, more in ((folder, {}), (other, {"knock_out": {"visual": "shuffle"}})):
        run = start(model, place, **settings, **more)
        np.testing.assert_array_equal(run.dataset.modality_feature("visual"), table)
        trainer = run.trainer()
        trainer.fit(run.train_data, run.valid_data, verbose=False)
        results.append((trainer.train_loss_dict, trainer.evaluate(run.test_data)))
    assert results[0] == results[1]


@pytest.mark.parametrize(
    "given, message",
    [
        ({"visul": "zero"}, r"knock_out: 'visul' is no modality in use \(did you mean visual\?\); there are"),
        ({"visual": "shufle"}, "knock_out.visual: 'shufle' is not allowed"),
        ("shuffle", "knock_out: 'shuffle' is not allowed"),
    ],
)
def test_bad_knock_outs(folder, given, message):
    with pytest.raises(ValueError, match=message):
        features(folder, knock_out=given)
