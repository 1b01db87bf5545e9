"""MMSSL against its formulae (WWW 2023), as released and as described."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch

from recbole_mm.graph import BipartiteGraph
from recbole_mm.model.user_batches import UserBatches
from recbole_mm.nn.critic import draw_critic
from recbole_mm.testing.models import ModelConformance
from tests.mmssl_reference import dense_critic_loss, dense_loss
from tests.reference import assert_same_loss_and_gradients, interactions, start_example, training_batch, write_example
from tests.shape_only import BABY, build, count_parameters

OF_CRITIC = {
    *(f"critic.layers.{number}.{kind}" for number in (0, 1, 2) for kind in ("weight", "bias")),
    *(f"critic.norms.{number}.{kind}" for number in (0, 1) for kind in ("weight", "bias")),
}


class TestMMSSL(ModelConformance):
    model = "MMSSL"
    settings = {"train_batch_size": 16}
    state_dict_keys = {
        "user_embedding", "item_embedding", "projections.0.weight", "projections.0.bias", "projections.1.weight",
        "projections.1.bias", "view_fusion.head_weight", *OF_CRITIC,
    }  # fmt: skip
    parameters_without_gradient = OF_CRITIC
    planted_epochs = 25


@pytest.mark.parametrize(
    "n_users, n_items, widths, expected",
    [
        (19_445, 7_050, {"visual": 4096, "textual": 384}, 1_998_912),
        (9_308, 6_710, {"visual": 128, "acoustic": 128}, 1_058_048),
    ],
    ids=["Baby", "TikTok"],
)
def test_parameter_counts(tmp_path, n_users, n_items, widths, expected):
    model = build("MMSSL", {"n_users": n_users, "n_items": n_items, "widths": widths}, tmp_path)
    of_critic = sum(p.numel() for p in model.critic.parameters())
    assert count_parameters(model) - of_critic == expected
    if n_items == BABY["n_items"]:
        assert of_critic == 13_983_233


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    return write_example(tmp_path_factory.mktemp("example"))


def run_of(example, **settings):
    """Tables of size 1: the softmax over features would hide smaller ones."""
    run = start_example("MMSSL", example, **{"n_heads": 2, **settings})
    torch.manual_seed(3)
    with torch.no_grad():
        for table in (run.model.user_embedding, run.model.item_embedding):
            table[1:] = torch.randn(table[1:].shape, dtype=torch.float64)
    return run


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"n_layers": 3, "n_heads": 3, "contrast_temperature": 0.2},
        {"modalities": ["textual"]},
        {"modalities": ["acoustic", "textual", "visual"], "n_layers": 1},
        {"attention": "cross"},
        {"attention": "cross", "modalities": ["acoustic", "textual", "visual"], "n_heads": 3},
        {"critic_slope": 0.2, "feature_dropout": 0.5},
        {"adversarial_weight": 0.0, "contrast_weight": 0.0, "train_batch_size": 16},
    ],
)
def test_loss_and_gradients(example, settings):
    """Weights as large as the ranking loss, so that no term hides; dropouts are handed in."""
    weights = {"reg_weight": 1.0, "feature_reg_weight": 1.0, "contrast_weight": 0.5, "adversarial_weight": 0.1}
    run = run_of(example, **{**weights, **settings})
    model, batch = run.model, training_batch(run)
    masks = model.draw_masks()
    critic_masks = model.critic.draw_masks(10 * len(model.modalities))
    ids = (batch["user_id"], batch["item_id"], batch["neg_item_id"])
    model.calculate_loss = lambda _: model.loss_of(*ids, masks, critic_masks)
    assert_same_loss_and_gradients(run, batch, lambda: dense_loss(run, ids, masks, critic_masks))


@pytest.mark.parametrize("settings", [{}, {"critic_slope": 0.2, "modalities": ["textual", "visual", "acoustic"]}])
def test_critic_loss_and_gradients(example, settings):
    run = run_of(example, **settings)
    model, users = run.model, training_batch(run)["user_id"]
    masks, drawn = model.draw_masks(), draw_critic(model.critic, 10, 10 * len(model.modalities))
    results = []
    own, dense = partial(model.critic_loss, users, masks, drawn), partial(dense_critic_loss, run, users, masks, drawn)
    for loss_of in (own, dense):
        with model.training_part(model.critic):
            loss = loss_of()
            loss.backward()
            results.append([loss.detach(), *(p.grad.clone() for p in model.critic.parameters())])
        assert all(p.grad is None for p in model.parameters())
    for got, expected in zip(*results, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-8, atol=1e-10)


def test_a_step_of_the_critic_lowers_its_loss(example):
    run = run_of(example, critic_learning_rate=0.001)
    model, batch = run.model, training_batch(run)
    masks, drawn = model.draw_masks(), draw_critic(model.critic, 10, 20)
    before = model.critic_loss(batch["user_id"], masks, drawn).item()
    rest = [p.clone() for name, p in model.named_parameters() if not name.startswith("critic")]
    for _ in range(20):
        model.critic_step(batch)
    assert model.critic_loss(batch["user_id"], masks, drawn).item() < before
    after = [p for name, p in model.named_parameters() if not name.startswith("critic")]
    assert all(torch.equal(p, q) for p, q in zip(rest, after, strict=True))


# ---------------------------------------------------------------- what is inert


def test_with_empty_graphs_the_contrast_is_a_constant(example):
    run = run_of(example, modalities=["acoustic", "textual", "visual"], adversarial_weight=0.0, feature_reg_weight=0.0)
    model, batch = run.model, training_batch(run)
    model.modality_edges = {name: torch.zeros(2, 0, dtype=torch.long) for name in model.modalities}
    masks = model.draw_masks()
    loss = model.loss_of(*model.batch(batch), masks, None)
    loss.backward()
    with_contrast = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    settings = model.settings
    model.settings = settings.model_copy(update={"contrast_weight": 0.0})
    model.zero_grad()
    without = model.loss_of(*model.batch(batch), masks, None)
    without.backward()
    torch.testing.assert_close(loss - without, torch.tensor(3 * 0.03 * -math.log(1 / 19 + 1e-8)).double())
    for name, gradient in with_contrast.items():
        torch.testing.assert_close(gradient, model.get_parameter(name).grad, rtol=1e-12, atol=1e-15)
    users, items, *_ = model.forward_parts(None)
    with torch.no_grad():
        model.view_fusion.head_weight.normal_()
    assert torch.equal(users, model.forward_parts(None)[0])


def test_scores_ignore_the_scale_of_heads(example):
    model = run_of(example).model.eval()
    before = torch.cat(model.encode())
    with torch.no_grad():
        model.view_fusion.head_weight *= 3
    torch.testing.assert_close(before, torch.cat(model.encode()), rtol=1e-12, atol=1e-14)


def test_graphs_start_as_the_training_ones(example):
    run = run_of(example)
    model, dense = run.model, interactions(run)
    sums = model.user_graph.to_dense().sum(1)
    torch.testing.assert_close(sums, dense.sum(1).sqrt(), rtol=1e-7, atol=0)
    *_, views = model.forward_parts(None)
    for view in views:
        torch.testing.assert_close(view, model.user_graph @ model.item_embedding, rtol=0, atol=0)


def steps(model, count, batches):
    """Stored entries of the first modality's graph at each step of an epoch."""
    model.start_epoch(0)
    entries = []
    for _ in range(count):
        entries.append(model.modality_graphs[0][0].nnz)
        batch = batches.draw()
        model.calculate_loss(batch)
        model.after_step(batch)
    model.after_epoch()
    return entries


@pytest.mark.parametrize("share, k", [(0.0001, 0), (0.12, 1), (0.34, 3)])
def test_released_graphs_are_empty_but_in_a_few_batches(example, share, k):
    """The pairs of an epoch's first batch are seen by its third alone, those of training by the first two ever."""
    model = run_of(example, refreshed_share=share, train_batch_size=4).model
    batches = model.user_batches.of_epoch(0, 0)
    assert model.n_similar == k
    first, second = steps(model, 5, batches), steps(model, 5, batches)
    n_edges = model.graph.n_edges
    assert first[:2] == [n_edges, n_edges] and first[3:] == [0, 0]
    assert second[:2] == [0, 0] and second[3:] == [0, 0]
    assert all(0 < counts[2] <= 4 * k if k else counts[2] == 0 for counts in (first, second))
    assert all(graph.nnz == 0 for pair in model.modality_graphs for graph in pair)


def test_released_pairs_are_misplaced_and_described_ones_are_not(example):
    pairs = {"code": [(1, 4), (2, 5), (1, 6), (2, 7)], "epoch": [(1, 4), (1, 5), (2, 6), (2, 7)]}
    for refresh, expected in pairs.items():
        model = run_of(example, graph_refresh=refresh).model
        model.start_epoch(0)
        model.similar_items = [torch.tensor([[4, 5], [6, 7]])] * 2
        batch = {"user_id": torch.tensor([1, 2])}
        model.after_step(batch)
        if refresh == "code":
            model.after_step(batch)
        model.after_epoch()
        edges = model.modality_edges["visual"]
        assert set(map(tuple, edges.T.tolist())) == set(expected)
        graph = model.modality_graphs[0][0].to_dense()
        for user, item in expected:
            assert graph[user, item].item() == pytest.approx(1 / math.sqrt(2), rel=1e-7)


def test_described_graphs_are_of_the_whole_epoch(example):
    model = run_of(example, graph_refresh="epoch", train_batch_size=4).model
    batches = model.user_batches.of_epoch(0, 0)
    n_edges = model.graph.n_edges
    assert model.n_similar == 1
    assert steps(model, 5, batches) == [n_edges] * 5
    second = steps(model, 5, batches)
    assert len(set(second)) == 1 and 4 <= second[0] < n_edges


def test_batches_are_of_users():
    users, items = np.array([1, 1, 1, 2, 3, 3]), np.array([1, 2, 3, 4, 1, 5])
    graph = BipartiteGraph(users, items, 6, 7)
    batches = UserBatches(graph, 2, ("u", "i", "k")).of_epoch(5, 0)
    assert len(batches) == len(list(batches)) == 4
    drawn = [batches.draw() for _ in range(3000)]
    seen = {(u, i) for batch in drawn for u, i in zip(batch["u"].tolist(), batch["i"].tolist(), strict=True)}
    assert seen == set(zip(users.tolist(), items.tolist(), strict=True))
    assert all(len(set(batch["u"].tolist())) == 2 for batch in drawn)
    counts = torch.cat([batch["u"] for batch in drawn]).bincount()
    assert counts[0] == 0 and all(abs(count - 2000) < 150 for count in counts[1:].tolist())  # 3.7 standard deviations
    unseen = {(u, k) for batch in drawn for u, k in zip(batch["u"].tolist(), batch["k"].tolist(), strict=True)}
    assert unseen == {(u, k) for u in (1, 2, 3) for k in range(1, 7)} - seen
    again = UserBatches(graph, 2, ("u", "i", "k")).of_epoch(5, 0)
    assert torch.equal(next(iter(again))["k"], next(iter(batches.of_epoch(5, 0)))["k"])
    assert len(UserBatches(graph, 4, ("u", "i", "k")).draw()["u"]) == 4  # more than users: with replacement


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"attention": "cross", "n_heads": 4}, "n_heads: 4 must divide embedding_size: 6"),
        ({"attention": "self"}, "attention: 'self' is not allowed"),
        ({"feature_dropout": 1.0}, "feature_dropout: 1.0 is not allowed"),
        ({"critic_slope": 2}, "critic_slope: 2 is not allowed"),
        ({"refreshed_share": 1.5}, "refreshed_share: 1.5 is not allowed"),
    ],
)
def test_bad_settings(example, settings, message):
    with pytest.raises(ValueError, match=message):
        start_example("MMSSL", example, **settings)
