"""FREEDOM against its formulae (ACM MM 2023)."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recbole_mm.testing.models import ModelConformance
from tests.reference import (
    assert_same_loss_and_gradients,
    interactions,
    mean_of_layers,
    start_example,
    symmetric_graph,
    training_batch,
    write_example,
)
from tests.shape_only import BABY, build, count_parameters


class TestFREEDOM(ModelConformance):
    model = "FREEDOM"
    settings = {"knn_k": 3}
    state_dict_keys = {
        "user_embedding", "item_embedding", "visual_feature", "textual_feature",
        "projections.0.weight", "projections.0.bias", "projections.1.weight", "projections.1.bias",
    }  # fmt: skip
    planted_epochs = 25

    def test_parameter_count_with_512_wide_features(self, tmp_path):
        model = build("FREEDOM", {**BABY, "widths": {"visual": 512, "textual": 512}}, tmp_path)
        assert count_parameters(model) == 8_980_544

    def test_constant_features_are_frozen(self, data_path, tmp_path):
        model = self.start(data_path, tmp_path, trainable_features=False).model
        assert "visual_feature" not in dict(model.named_parameters())
        assert "visual_feature" not in model.state_dict()

    def test_no_modality_loss(self, data_path, tmp_path):
        run = self.start(data_path, tmp_path, modality_loss_weight=0)
        run.model.calculate_loss(run.batch()).backward()
        assert run.model.visual_feature.grad is None
        assert run.model.item_embedding.grad.any()


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    return write_example(tmp_path_factory.mktemp("example"))


@pytest.mark.parametrize(
    "settings",
    [
        {"edge_dropout": 0.0},
        {"edge_dropout": 0.6, "n_layers": 3, "n_item_layers": 2},
        {"modalities": ["textual"]},
        {"modalities": ["acoustic", "textual", "visual"]},
        {"modality_weights": [0.7, 0.3], "modality_loss_weight": 0.0},
        {"trainable_features": False},
    ],
)
def test_loss_and_gradients(example, settings):
    settings = {"modality_loss_weight": 0.5, "knn_k": 3, **settings}
    run = start_example("FREEDOM", example, **settings)
    batch = training_batch(run)
    assert_same_loss_and_gradients(run, batch, lambda: dense_loss(run, batch))


def test_training_edges_change_with_the_epoch_and_evaluation_has_all(example):
    model = start_example("FREEDOM", example, knn_k=3, edge_dropout=0.5).model
    trained = []
    for epoch in range(2):
        model.start_epoch(epoch)
        trained.append(model.encode()[0])
    assert not torch.allclose(*trained)
    full = start_example("FREEDOM", example, knn_k=3, edge_dropout=0.0).model
    assert torch.equal(model.eval().encode()[0], full.encode()[0])


def test_features_do_not_enter_the_score(example):
    model = start_example("FREEDOM", example, knn_k=3).model.eval()
    before = torch.cat(model.encode())
    with torch.no_grad():
        model.visual_feature.zero_()
        model.projections[0].weight.zero_()
    assert torch.equal(before, torch.cat(model.encode()))


def test_a_modality_of_constant_rows_takes_the_smallest_ids(tmp_path):
    folder = write_example(tmp_path)
    file = folder / "toy" / "toy.visual"
    header, *rows = file.read_text().splitlines()
    rows = [f"{row.split(chr(9))[0]}\t1.0 2.0" for row in rows]
    file.write_text("\n".join([header, *rows]) + "\n")
    model = start_example("FREEDOM", folder, knn_k=3, modalities=["visual"]).model
    neighbors = [set(np.flatnonzero(row)) for row in model.fused_item_graph.to_dense().numpy()]
    assert neighbors[1:] == [{1, 2, 3}] * 3 + [{1, 2, item} for item in range(4, 10)]
    assert torch.isfinite(model.encode()[1]).all()


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"n_layers": 0}, "n_layers: 0"),
        ({"n_item_layers": 0}, "n_item_layers: 0"),
        ({"knn_k": 10}, "knn_k: 10 must be from 1 to 9"),
        ({"knn_k": 0}, "knn_k: 0 is not allowed"),
        ({"modality_weights": [1.0]}, "modality_weights"),
        ({"edge_dropout": 1.0}, "edge_dropout: 1.0 is not allowed"),
    ],
)
def test_bad_settings(example, settings, message):
    with pytest.raises(ValueError, match=message):
        start_example("FREEDOM", example, **{"knn_k": 3, **settings})


def dense_loss(run, batch):
    """The loss by dense products; item graphs and kept edges from their definitions."""
    model, config = run.model, run.config
    weights = config["modality_weights"] or {1: [1.0], 2: [0.1, 0.9], 3: [1 / 3] * 3}[len(model.modalities)]
    graphs = [nearest(model.feature(name), config["knn_k"]) for name in model.modalities]
    item_graph = sum(weight * graph for weight, graph in zip(weights, graphs, strict=True))
    kept = model.edge_sampler.kept_edges(0)
    assert len(kept) == int(model.graph.n_edges * (1 - config["edge_dropout"]))
    edges = torch.zeros(model.n_users, model.n_items, dtype=torch.float64)
    edges[model.graph.users[kept], model.graph.items[kept]] = 1
    assert (edges <= interactions(run)).all()
    ego = torch.cat([model.user_embedding, model.item_embedding])
    nodes = mean_of_layers(symmetric_graph(edges), ego, config["n_layers"])
    users, items = nodes.split([model.n_users, model.n_items])
    items = items + torch.linalg.matrix_power(item_graph, config["n_item_layers"]) @ model.item_embedding
    user, positive, negative = users[batch["user_id"]], items[batch["item_id"]], items[batch["neg_item_id"]]
    loss = bpr(user, positive, negative)
    for name, layer in zip(model.modalities, model.projections, strict=True):
        content = model.feature(name) @ layer.weight.T + layer.bias
        share = bpr(user, content[batch["item_id"]], content[batch["neg_item_id"]])
        loss = loss + config["modality_loss_weight"] * share
    return loss


def bpr(user, positive, negative):
    return -torch.log(torch.sigmoid((user * positive).sum(1) - (user * negative).sum(1))).mean()


def nearest(feature, k):
    """1 / k at each item's k items of largest cosine, itself included; no ties in random features."""
    rows = feature.detach()[1:]
    rows = rows / rows.norm(dim=1, keepdim=True)
    chosen = (rows @ rows.T).topk(k).indices
    graph = torch.zeros(len(feature), len(feature), dtype=torch.float64)
    graph[1:, 1:].scatter_(1, chosen, 1 / k)
    return graph
