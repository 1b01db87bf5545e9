"""DRAGON against its formulae (ECAI 2023)."""

from __future__ import annotations

import pytest
import torch

from recbole_mm.testing.models import ModelConformance
from tests.dual_reference import log2_loss, representations, user_graph
from tests.reference import assert_same_loss_and_gradients, start_example, training_batch, write_example
from tests.shape_only import build, count_parameters


class TestDRAGON(ModelConformance):
    model = "DRAGON"
    settings = {"user_graph_width": 5, "knn_k": 3}
    state_dict_keys = {
        "user_embedding.tables.0", "user_embedding.tables.1", "user_fusion",
        "projections.0.0.weight", "projections.0.0.bias", "projections.0.2.weight", "projections.0.2.bias",
        "projections.1.0.weight", "projections.1.0.bias", "projections.1.2.weight", "projections.1.2.bias",
    }  # fmt: skip
    planted_epochs = 30

    def test_parameter_count(self, tmp_path):
        """Preferences, projections and user weights: nothing that the public code creates and never uses."""
        model = build(
            "DRAGON", {"n_users": 300, "n_items": 200, "widths": {"visual": 40, "textual": 30}}, tmp_path
        )
        projections = sum(256 * width + 256 + 64 * 256 + 64 for width in (40, 30))
        assert count_parameters(model) == 2 * 300 * 64 + projections + 2 * 300


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    return write_example(tmp_path_factory.mktemp("example"))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"user_graph_width": 2, "n_layers": 3, "n_item_layers": 2, "knn_k": 4},
        {"modality_weights": [0.7, 0.3], "user_weights": False},
        {"modalities": ["textual"]},
        {"modalities": ["acoustic", "visual", "textual"], "weak_weight": 0.7},
        {"user_embedding": "shared"},
        {"user_embedding": "prompted", "prompt_num": 3, "weak_weight": 0.7},
    ],
)
def test_loss_and_gradients(example, settings):
    run = start_example(
        "DRAGON", example, **{"user_graph_width": 4, "knn_k": 3, "reg_weight": 0.3, **settings}
    )
    batch = training_batch(run)
    for epoch in range(2):
        run.model.start_epoch(epoch)
        assert_same_loss_and_gradients(run, batch, lambda epoch=epoch: dense_loss(run, batch, epoch))


def test_one_modality_has_no_user_weights(example):
    run = start_example("DRAGON", example, modalities=["visual"], knn_k=3)
    assert run.model.user_fusion is None
    assert run.model.encode()[1].shape == (10, 1, 6)


def test_vectors_of_a_batch_are_rows_of_all_vectors(example):
    run = start_example("DRAGON", example, knn_k=3)
    ids = run.model.batch(training_batch(run))
    users, items = run.model.encode()
    for rows, expected in zip(
        run.model.batch_vectors(*ids), (users[ids[0]], items[ids[1]], items[ids[2]]), strict=True
    ):
        torch.testing.assert_close(rows, expected)


def test_item_graph_is_built_from_the_modalities_weighted(example):
    model = start_example("DRAGON", example, knn_k=3).model
    alone = [start_example("DRAGON", example, knn_k=3, modalities=[name]).model for name in model.modalities]
    expected = sum(w * single.fused_item_graph.to_dense() for w, single in zip((0.1, 0.9), alone, strict=True))
    torch.testing.assert_close(model.fused_item_graph.to_dense(), expected)
    torch.testing.assert_close(expected.sum(1)[1:], torch.ones(9, dtype=torch.float64))


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"n_layers": 0}, "n_layers: 0"),
        ({"n_item_layers": 0}, "n_item_layers: 0"),
        ({"knn_k": 10}, "knn_k: 10 must be from 1 to 9"),
        ({"user_graph_width": 0}, "user_graph_width: 0"),
        ({"modality_weights": [1.0]}, "modality_weights"),
    ],
)
def test_bad_settings(example, settings, message):
    with pytest.raises(ValueError, match=message):
        start_example("DRAGON", example, **{"knn_k": 3, **settings})


def dense_loss(run, batch, epoch):
    model, config = run.model, run.config
    users, items = representations(run)
    if config["user_weights"] and len(model.modalities) > 1:
        users = model.user_fusion[:, :, None] * users
    users, items = users.flatten(1), items.flatten(1)
    weights = config["modality_weights"] or {1: [1.0], 2: [0.1, 0.9], 3: [1 / 3] * 3}[len(model.modalities)]
    graph = sum(
        w * nearest(model.feature(m), config["knn_k"]) for w, m in zip(weights, model.modalities, strict=True)
    )
    items = items + torch.linalg.matrix_power(graph, config["n_item_layers"]) @ items
    users = users + user_graph(run, epoch) @ users
    products = users[batch["user_id"]] * (items[batch["item_id"]] - items[batch["neg_item_id"]])
    margins = torch.stack([part.sum(1) for part in products.split(model.embedding_size, dim=1)], dim=1)
    squares = sum((table[batch["user_id"]] ** 2).mean() for table in model.user_embedding.tables)
    if model.user_fusion is not None:
        squares = squares + (model.user_fusion[1:] ** 2).mean()
    return log2_loss(margins, config["weak_weight"]) + config["reg_weight"] * squares


def nearest(feature, k):
    """1 / k at each item's k items of largest cosine, itself included; no ties in random features."""
    rows = feature[1:] / feature[1:].norm(dim=1, keepdim=True)
    graph = torch.zeros(len(feature), len(feature), dtype=feature.dtype)
    graph[1:, 1:].scatter_(1, (rows @ rows.T).topk(k).indices, 1 / k)
    return graph
