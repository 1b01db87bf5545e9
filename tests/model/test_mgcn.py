"""MGCN against its formulae (ACM MM 2023)."""

from __future__ import annotations

import pytest
import torch

from recbole_mm.testing.models import ModelConformance
from tests.graph_reference import checked_item_graphs, exact_symmetric_graph
from tests.reference import (
    assert_same_loss_and_gradients,
    interactions,
    mean_of_layers,
    start_example,
    training_batch,
    write_example,
)
from tests.shape_only import BABY, build, count_parameters


class TestMGCN(ModelConformance):
    model = "MGCN"
    settings = {"knn_k": 4}
    state_dict_keys = {
        "user_embedding", "item_embedding", "visual_feature", "textual_feature",
        "projections.0.weight", "projections.0.bias", "projections.1.weight", "projections.1.bias",
        "purifiers.0.weight", "purifiers.0.bias", "purifiers.1.weight", "purifiers.1.bias",
        "preferences.weight", "preferences.bias",
        "attention.hidden.weight", "attention.hidden.bias", "attention.query.weight",
    }  # fmt: skip
    planted_epochs = 25

    def test_parameter_count_with_512_wide_features(self, tmp_path):
        """FREEDOM's published count, two gates per modality and the attention's published 4,224."""
        model = build("MGCN", {**BABY, "widths": {"visual": 512, "textual": 512}}, tmp_path)
        assert count_parameters(model) == 8_980_544 + 4 * (64 * 64 + 64) + 4_224


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    return write_example(tmp_path_factory.mktemp("example"))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"n_layers": 3, "knn_k": 2, "contrast_temperature": 0.5},
        {"modalities": ["textual"]},
        {"modalities": ["acoustic", "textual", "visual"]},
        {"trainable_features": False},
        {"contrast_weight": 0.0},
        {"reg_weight": 0.0},
    ],
)
def test_loss_and_gradients(example, settings):
    """Weights as large as the ranking loss, so that no term hides behind another."""
    settings = {"knn_k": 3, "contrast_weight": 0.5, "reg_weight": 20.0, **settings}
    run = start_example("MGCN", example, **settings)
    batch = training_batch(run)
    assert_same_loss_and_gradients(run, batch, lambda: dense_loss(run, batch))


@pytest.mark.parametrize("modalities", [["textual"], ["visual", "textual"]])
def test_encoding(example, modalities):
    run = start_example("MGCN", example, knn_k=3, modalities=modalities)
    run.model.eval()
    content, side = dense_parts(run)
    # float64 sums of a few dozen terms in different orders
    torch.testing.assert_close(torch.cat(run.model.encode()), content + side, rtol=1e-10, atol=1e-13)


def test_the_regulariser_divides_a_short_batch_by_the_full_size(example):
    losses = []
    for reg_weight in (0.0, 1.0):
        run = start_example("MGCN", example, knn_k=3, reg_weight=reg_weight, train_batch_size=16)
        losses.append(run.model.calculate_loss(training_batch(run)))
    batch = training_batch(run)
    users, items = run.model.encode()
    rows = [users[batch["user_id"]], items[batch["item_id"]], items[batch["neg_item_id"]]]
    assert len(batch["user_id"]) == 10
    squares = sum(vectors.square().sum() for vectors in rows)
    # the difference of two losses of size 1 keeps 12 digits
    torch.testing.assert_close(losses[1] - losses[0], 0.5 * squares / 16, rtol=1e-10, atol=1e-12)


def test_a_user_and_an_item_without_edges_have_finite_vectors(example):
    run = start_example("MGCN", example, knn_k=3)
    user, item = run.dataset.token2id("user_id", "u11"), run.dataset.token2id("item_id", "i8")
    users, items = run.model.eval().encode()
    assert run.model.graph.user_degrees[user] == run.model.graph.item_degrees[item] == 0
    assert torch.isfinite(users[user]).all() and torch.isfinite(items[item]).all()
    assert items[item].any()


@pytest.mark.parametrize(
    "settings, message",
    [({"n_layers": 0}, "n_layers: 0"), ({"knn_k": 10}, "knn_k: 10 must be from 1 to 9")],
)
def test_bad_settings(example, settings, message):
    with pytest.raises(ValueError, match=message):
        start_example("MGCN", example, **{"knn_k": 3, **settings})


def dense_loss(run, batch):
    """The loss of the formulae from the dense parts of :func:`dense_parts`."""
    return loss_of_parts(run, batch, *dense_parts(run))


def loss_of_parts(run, batch, content, side):
    """BPR, regulariser and contrasts from C and side of all nodes."""
    config, n_users = run.config, run.model.n_users
    final = content + side
    ids = (batch["user_id"], n_users + batch["item_id"], n_users + batch["neg_item_id"])
    user, positive, negative = (final[index] for index in ids)
    loss = -torch.log(torch.sigmoid((user * positive).sum(1) - (user * negative).sum(1))).mean()
    squares = sum(vectors.square().sum() for vectors in (user, positive, negative))
    loss = loss + config["reg_weight"] * 0.5 * squares / config["train_batch_size"]
    for nodes in ids[:2]:
        a, b = (rows[nodes] / rows[nodes].norm(dim=1, keepdim=True) for rows in (side, content))
        e = torch.exp(a @ b.T / config["contrast_temperature"])
        loss = loss + config["contrast_weight"] * -torch.log(e.diagonal() / e.sum(1)).mean()
    return loss


def dense_parts(run):
    """C and side of all nodes, ``[N, d]`` each."""
    model, config = run.model, run.config
    interaction_graph = exact_symmetric_graph(interactions(run))
    block = interaction_graph[: model.n_users, model.n_users :]
    ego = torch.cat([model.user_embedding, model.item_embedding])
    content = mean_of_layers(interaction_graph, ego, config["n_layers"])
    preferences = torch.sigmoid(model.preferences(content)).chunk(len(model.modalities), dim=1)
    graphs = checked_item_graphs(run, model.item_graphs, [config["knn_k"]] * len(model.modalities))
    views = []
    for name, graph, projection, gate in zip(
        model.modalities, graphs, model.projections, model.purifiers, strict=True
    ):
        x = model.feature(name) @ projection.weight.T + projection.bias
        z = model.item_embedding * torch.sigmoid(x @ gate.weight.T + gate.bias)
        items = graph @ z
        views.append(torch.cat([block @ items, items]))
    hidden, query = model.attention.hidden, model.attention.query
    scores = [torch.tanh(view @ hidden.weight.T + hidden.bias) @ query.weight.T for view in views]
    exponentials = torch.exp(torch.cat(scores, dim=1))
    weights = exponentials / exponentials.sum(1, keepdim=True)
    common = sum(weights[:, [m]] * view for m, view in enumerate(views))
    kept = sum(p * (view - common) for p, view in zip(preferences, views, strict=True))
    return content, (common + kept) / (len(views) + 1)

