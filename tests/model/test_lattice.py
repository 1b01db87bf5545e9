"""LATTICE against its formulae (ACM MM 2021)."""

from __future__ import annotations

import pytest
import torch

from recbole_mm.testing.models import ModelConformance
from tests.graph_reference import checked_item_graphs, kept_cosines, row_graph_with_self, symmetric_by_rows
from tests.largest_tensor import LargestTensor
from tests.reference import (
    assert_same_loss_and_gradients,
    interactions,
    mean_of_layers,
    start_example,
    training_batch,
    write_example,
)
from tests.shape_only import BABY, build, count_parameters


class TestLATTICE(ModelConformance):
    model = "LATTICE"
    settings = {"knn_k": 4}
    state_dict_keys = {
        "user_embedding", "item_embedding", "visual_feature", "textual_feature", "modality_weights",
        "projections.0.weight", "projections.0.bias", "projections.1.weight", "projections.1.bias",
    }  # fmt: skip
    planted_epochs = 25

    def test_parameter_count_with_512_wide_features(self, tmp_path):
        """FREEDOM's published count and the two modality weights."""
        model = build("LATTICE", {**BABY, "widths": {"visual": 512, "textual": 512}}, tmp_path)
        assert count_parameters(model) == 8_980_544 + 2


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    return write_example(tmp_path_factory.mktemp("example"))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"n_layers": 3, "n_item_layers": 2, "knn_k": 5},
        {"modalities": ["textual"]},
        {"modalities": ["acoustic", "textual", "visual"]},
        {"raw_graph_weight": 0.0},
        {"trainable_features": False},
    ],
)
def test_loss_and_gradients_of_the_first_batch(example, settings):
    settings = {"knn_k": 3, "reg_weight": 20.0, "raw_graph_weight": 0.4, **settings}
    run = start_example("LATTICE", example, **settings)
    shift_modality_weights(run.model)
    batch = training_batch(run)
    assert_same_loss_and_gradients(run, batch, lambda: dense_loss(run, batch, dense_graph(run)))


@pytest.mark.parametrize("stale_gradients", ["skip", "zero"])
def test_loss_and_gradients_of_a_later_batch(example, stale_gradients):
    """The graph stays that of the first batch's parameters, and only the ID tables learn."""
    run = start_example("LATTICE", example, knn_k=3, reg_weight=20.0, stale_gradients=stale_gradients)
    batch = training_batch(run)
    run.model.calculate_loss(batch)
    graph = dense_graph(run).detach()
    disturb(run.model)
    assert_same_loss_and_gradients(run, batch, lambda: dense_loss(run, batch, graph))
    run.model.zero_grad()
    run.model.calculate_loss(batch).backward()
    for parameter in run.model.graph_parameters():
        assert (parameter.grad is None) == (stale_gradients == "skip")


def test_each_epoch_begins_with_a_new_graph(example):
    run = start_example("LATTICE", example, knn_k=3, raw_graph_weight=0.4)
    batch = training_batch(run)
    run.model.calculate_loss(batch)
    disturb(run.model)
    run.model.start_epoch(1)
    assert_same_loss_and_gradients(run, batch, lambda: dense_loss(run, batch, dense_graph(run)))


def test_evaluation_has_the_graph_of_the_current_parameters(example):
    run = start_example("LATTICE", example, knn_k=3, raw_graph_weight=0.4)
    run.model.calculate_loss(training_batch(run))
    disturb(run.model)
    users, items = run.model.eval().encode()
    expected = dense_vectors(run, dense_graph(run))
    # float64 sums of a few dozen terms in different orders
    torch.testing.assert_close((users, items), expected, rtol=1e-10, atol=1e-13)
    items.sum().backward()
    assert run.model.visual_feature.grad is None


@pytest.mark.parametrize("stale_gradients", ["skip", "zero"])
def test_stale_gradients_under_adam(example, stale_gradients):
    """After one gradient g, a second step with gradient 0 moves by the moments 0.9 m and 0.999 v."""
    run = start_example("LATTICE", example, knn_k=3, stale_gradients=stale_gradients, raw_graph_weight=0.4)
    model, batch = run.model, training_batch(run)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    positions = []
    for _ in range(2):
        optimizer.zero_grad()
        model.calculate_loss(batch).backward()
        if not positions:
            g = model.visual_feature.grad.clone()
        optimizer.step()
        positions.append(model.visual_feature.detach().clone())
    m, v = 0.9 * 0.1 * g / (1 - 0.9**2), 0.999 * 0.001 * g**2 / (1 - 0.999**2)
    moved = -0.01 * m / (v.sqrt() + 1e-8) if stale_gradients == "zero" else torch.zeros_like(g)
    # a move of 0.01 on features of size 1 keeps 13 digits
    torch.testing.assert_close(positions[1] - positions[0], moved, rtol=1e-8, atol=1e-13)


def test_nothing_is_of_the_size_of_all_item_pairs(tmp_path):
    shape = {"n_users": 100, "n_items": 3000, "widths": {"visual": 8, "textual": 6}}
    model = build("LATTICE", shape, tmp_path, embedding_size=8)
    ids = torch.arange(1, 60)
    batch = {"user_id": ids, "item_id": ids, "neg_item_id": ids + 1}
    model.train()
    with LargestTensor() as largest:
        for _ in range(2):
            model.calculate_loss(batch).backward()
        with torch.no_grad():
            model.eval().encode()
    assert 3000 * 10 < largest.numel < 3000 * 3000 / 4


def test_a_modality_of_constant_rows(tmp_path):
    folder = write_example(tmp_path)
    file = folder / "toy" / "toy.visual"
    header, *rows = file.read_text().splitlines()
    rows = [f"{row.split(chr(9))[0]}\t1.0 2.0" for row in rows]
    file.write_text("\n".join([header, *rows]) + "\n")
    run = start_example("LATTICE", folder, knn_k=3)
    loss = run.model.calculate_loss(training_batch(run))
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(parameter.grad).all() for parameter in run.model.parameters())


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"n_layers": 0}, "n_layers: 0"),
        ({"n_item_layers": 0}, "n_item_layers: 0"),
        ({"knn_k": 10}, "knn_k: 10 must be from 1 to 9"),
        ({"stale_gradients": "keep"}, "stale_gradients: 'keep'"),
    ],
)
def test_bad_settings(example, settings, message):
    with pytest.raises(ValueError, match=message):
        start_example("LATTICE", example, **{"knn_k": 3, **settings})


def shift_modality_weights(model):
    """Away from their equal start, at which a mistaken softmax would not show."""
    with torch.no_grad():
        model.modality_weights.add_(torch.tensor([0.7, -0.4, 0.2])[: len(model.modality_weights)])


def disturb(model):
    """Move every parameter, so that neighbours and similarities change."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))
        model.user_embedding[0] = model.item_embedding[0] = 0


def dense_graph(run):
    """G of the current parameters with its gradients, ``[n_items, n_items]``."""
    model, config = run.model, run.config
    exponentials = torch.exp(model.modality_weights)
    weights = exponentials / exponentials.sum()
    raw = checked_item_graphs(run, model.raw_graphs, [config["knn_k"]] * len(model.modalities))
    learned = symmetric_by_rows(weighted_sum(weights, learned_cosines(run)))
    share = config["raw_graph_weight"]
    return (1 - share) * learned + share * weighted_sum(weights, raw)


def weighted_sum(weights, graphs):
    return sum(weight * graph for weight, graph in zip(weights, graphs, strict=True))


def learned_cosines(run):
    """Kept cosines of the projected features of each modality."""
    inputs = zip(run.model.projections, run.model.modalities, strict=True)
    projected = [run.model.feature(name) @ layer.weight.T + layer.bias for layer, name in inputs]
    return [kept_cosines(x, run.config["knn_k"]) for x in projected]


def dense_vectors(run, graph):
    """Users and items, from one dense item graph."""
    signal = torch.linalg.matrix_power(graph, run.config["n_item_layers"]) @ run.model.item_embedding
    return add_signal(run, signal)


def add_signal(run, signal):
    """LightGCN's users, and its items with the normalised h ``[n_items, d]`` added."""
    model = run.model
    ego = torch.cat([model.user_embedding, model.item_embedding])
    nodes = mean_of_layers(row_graph_with_self(interactions(run)), ego, run.config["n_layers"])
    users, items = nodes.split([model.n_users, model.n_items])
    return users, items + signal / signal.norm(dim=1, keepdim=True).clamp(min=1e-12)


def dense_loss(run, batch, graph):
    return ranking_loss(run, batch, *dense_vectors(run, graph))


def ranking_loss(run, batch, users, items):
    """BPR and regulariser."""
    user, positive, negative = users[batch["user_id"]], items[batch["item_id"]], items[batch["neg_item_id"]]
    loss = -torch.log(torch.sigmoid((user * positive).sum(1) - (user * negative).sum(1))).mean()
    squares = sum(vectors.square().sum() for vectors in (user, positive, negative))
    return loss + run.config["reg_weight"] * 0.5 * squares / run.config["train_batch_size"]
