"""What log and curves have of an epoch beside the loss: whether the parts of a model act."""

from __future__ import annotations

import pytest
import torch

from recbole_mm.testing.model_runs import few_neighbours
from tests.reference import interactions, start_example, training_batch, write_example


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    return write_example(tmp_path_factory.mktemp("example"))


def after_a_loss(run):
    """The model's records and diagnostics of an epoch of one batch."""
    run.model.start_epoch(0)
    run.model.calculate_loss(training_batch(run))
    return {**run.model.records(), **run.model.diagnostics()}


@pytest.mark.parametrize("name", ["MENTOR", "DualGNN", "DRAGON", "COHESION"])
def test_users_weights(example, name):
    run = start_example(name, example, **few_neighbours(name))
    weights = torch.rand(12, 2, dtype=torch.float64)
    run.model.user_fusion.data[1:] = weights
    measured = after_a_loss(run)
    assert measured["user_weight_visual"] == pytest.approx(weights[:, 0].mean().item())
    assert measured["user_weight_textual"] == pytest.approx(weights[:, 1].mean().item())
    assert measured["user_weights_sd"] == pytest.approx(weights.numpy().std(axis=0, ddof=1).mean())
    assert "user_cosine" in measured


def test_users_without_weights_have_none(example):
    measured = after_a_loss(start_example("DRAGON", example, knn_k=3, user_weights=False))
    assert "user_cosine" in measured and "user_weights_sd" not in measured


def test_weights_of_margins(example):
    run = start_example("COHESION", example, knn_k=3)
    measured, batch = after_a_loss(run), training_batch(run)
    users, items = run.model.encode()
    margins = (users[batch["user_id"]] * (items[batch["item_id"]] - items[batch["neg_item_id"]])).sum(dim=-1)
    expected = (1 - margins.softmax(dim=1)).mean(dim=0).tolist()
    assert [measured[f"margin_weight_{name}"] for name in ("id", "visual", "textual")] == pytest.approx(expected)


def test_weights_of_feedback(example):
    run = start_example("DAMRS", example, knn_k=4, relation_size=3)
    for table in run.model.parameters():
        table.data[1:] = torch.randn(table[1:].shape, dtype=torch.float64)
    measured, batch = after_a_loss(run), training_batch(run)
    users, units = run.model.behaviour_tables()[0], run.model.related_items()
    units = [rows / rows.norm(dim=1, keepdim=True).clamp(min=1e-12) for rows in units]
    weights = run.model.feedback_weights(users[batch["user_id"]], units, batch["item_id"], batch["neg_item_id"])
    found = measured["positive_weight"], measured["negative_weight"]
    assert found == pytest.approx([weight.mean().item() for weight in weights]) and min(found) > 0


def test_pairs_of_modality_graphs(example):
    run = start_example("MMSSL", example, train_batch_size=4)
    n_edges = run.model.graph.n_edges
    assert run.model.diagnostics() == {"edges_visual": n_edges, "edges_textual": n_edges}
    run.model.modality_edges = {"visual": torch.tensor([[1, 1, 2], [3, 3, 4]])}
    assert run.model.diagnostics() == {"edges_visual": 2, "edges_textual": n_edges}


def test_rebuilt_graphs_and_weights(example):
    run = start_example("DiffMM", example, denoiser_width=6, denoiser_batch_size=5, rebuilt_k=2)
    run.model.modality_logits.data = torch.tensor([0.0, 1.0], dtype=torch.float64)
    measured, known = after_a_loss(run), interactions(run)[1:]
    for number, name in enumerate(("visual", "textual")):
        items = run.model.rebuilt_items[number, 1:]
        assert measured[f"known_{name}"] == pytest.approx(known.gather(1, items).mean().item())
        assert measured[f"rebuilt_items_{name}"] == len(items.unique())
        assert measured[f"L_denoiser_{name}"] > 0
    assert measured["weight_textual"] == pytest.approx(1 - 1 / (1 + torch.e)) and "loss_ranking" in measured


def test_bounds_and_shares(example):
    """DGMRec's bounds, and the share of an item's own vector in MMGCF."""
    measured = after_a_loss(start_example("DGMRec", example, knn_k=3, club_items=4))
    assert {"L_club_visual", "L_club_textual"} < set(measured)
    run = start_example("MMGCF", example, weighting="alpha")
    run.model.item_fusion.share_logit.data += 1
    assert after_a_loss(run)["own_share"] == pytest.approx(1 - 1 / (1 + torch.e))
    assert "own_share" not in after_a_loss(start_example("MMGCF", example))
