"""GRCN against its formulae (ACM MM 2020)."""

from __future__ import annotations

import math

import pytest
import torch

from recbole_mm.testing.models import ModelConformance
from tests.reference import (
    assert_same_loss_and_gradients,
    interactions,
    start_example,
    training_batch,
    write_example,
)
from tests.shape_only import BABY, build, count_parameters


class TestGRCN(ModelConformance):
    model = "GRCN"
    state_dict_keys = {
        "user_embedding.tables.0", "user_embedding.tables.1", "user_embedding.tables.2", "item_embedding",
        "user_confidence", "item_confidence",
        "projections.0.weight", "projections.0.bias", "projections.1.weight", "projections.1.bias",
    }  # fmt: skip
    planted_epochs = 30

    def test_parameter_count_of_the_published_table(self, tmp_path):
        assert count_parameters(build("GRCN", BABY, tmp_path)) == 4_524_478

    def test_initial_values(self, tmp_path):
        """IDs and confidences of users and items have the scale of the one table that they stand for."""
        model = build("GRCN", BABY, tmp_path)
        ids, *preferences = model.user_embedding.tables
        n_users, n_nodes = 19_445, 19_445 + 7_050
        scales = [
            *((table, n_nodes + 64) for table in (ids, model.item_embedding)),
            *((table, n_nodes + 2) for table in (model.user_confidence, model.item_confidence)),
            *((table, n_users + 64) for table in preferences),
        ]
        for table, size in scales:
            assert not table[0].any()
            # at least 14,100 normal draws: the standard deviation is known to 0.6 %
            assert table[1:].std().item() == pytest.approx(math.sqrt(2 / size), rel=0.025)
        for layer in model.projections:
            assert layer.weight.std().item() == pytest.approx(
                math.sqrt(2 / sum(layer.weight.shape)), rel=0.025
            )


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    return write_example(tmp_path_factory.mktemp("example"))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"n_routings": 1, "n_layers": 3},
        {"n_routings": 0},
        {"regularise_whole_table": False},
        {"modalities": ["textual"]},
        {"modalities": ["acoustic", "visual", "textual"]},
        {"user_embedding": "shared"},
        {"user_embedding": "prompted", "prompt_num": 3, "weak_weight": 0.7},
    ],
)
def test_loss_and_gradients(example, settings):
    run = start_example("GRCN", example, **{"reg_weight": 0.3, **settings})
    with (
        torch.no_grad()
    ):  # confidences of both signs and of some size, so that neither side of ReLU is left out
        for table in (run.model.user_confidence, run.model.item_confidence):
            table.mul_(5)
    batch = training_batch(run)
    assert_same_loss_and_gradients(run, batch, lambda: dense_loss(run, batch))


def test_no_routing_equals_routing_over_edges_from_users_to_items(example):
    """The public code routes along edges whose targets are items: users gather nothing."""
    run = start_example("GRCN", example, n_routings=0)
    model, adjacency = run.model, interactions(run)
    for modality in range(2):
        users = unit(model.user_embedding.tables[1 + modality])
        items = unit(model.projections.project(model.modalities[modality]))
        gathered_by_users = torch.zeros_like(users)
        gathered_by_items = attention(items, users, adjacency.T) @ users
        assert gathered_by_items.any()
        for _ in range(3):
            users = unit(users + gathered_by_users)
        expected = users + attention(users, items, adjacency) @ items
        torch.testing.assert_close(model.encode()[0][1:, 1 + modality], expected[1:])


def test_vectors_of_a_batch_are_rows_of_all_vectors(example):
    run = start_example("GRCN", example)
    ids = run.model.batch(training_batch(run))
    users, items = run.model.encode()
    for rows, expected in zip(
        run.model.batch_vectors(*ids), (users[ids[0]], items[ids[1]], items[ids[2]]), strict=True
    ):
        torch.testing.assert_close(rows, expected)


def test_users_and_items_without_edges_keep_their_own_vectors(example):
    run = start_example("GRCN", example)
    users, items = run.model.encode()
    user, item = run.dataset.token2id("user_id", "u11"), run.dataset.token2id("item_id", "i8")
    own = torch.stack([unit(table)[user] for table in run.model.user_embedding.tables])
    torch.testing.assert_close(users[user], own)
    torch.testing.assert_close(items[item, 0], unit(run.model.item_embedding)[item])


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"n_layers": 0}, "n_layers: 0"),
        ({"n_routings": -1}, "n_routings: -1"),
        ({"user_embedding": "hashed"}, "user_embedding: 'hashed'"),
    ],
)
def test_bad_settings(example, settings, message):
    with pytest.raises(ValueError, match=message):
        start_example("GRCN", example, **settings)


def dense_loss(run, batch):
    model, config, adjacency = run.model, run.config, interactions(run)
    embedding, n_modalities = model.user_embedding, len(model.modalities)
    tables = list(embedding.tables) * (1 if embedding.kind == "separate" else 1 + n_modalities)
    if embedding.kind == "prompted":
        tables = [table + prompts.sum(0) for table, prompts in zip(tables, embedding.prompts, strict=True)]
    users, items, to_users, to_items = [], [], [], []
    for name, layer, table in zip(model.modalities, model.projections, tables[1:], strict=True):
        content = model.feature(name) @ layer.weight.T + layer.bias
        content = unit(torch.where(content > 0, content, 0.01 * content))
        preference = unit(table)
        for _ in range(config["n_routings"]):
            preference = unit(preference + attention(preference, content, adjacency) @ content)
        to_users.append(attention(preference, content, adjacency))
        to_items.append(attention(content, preference, adjacency.T))
        users.append(preference + to_users[-1] @ content)
        items.append(content + to_items[-1] @ preference)
    weights = [
        (torch.stack(parts, dim=2) * confidence).amax(2).relu()
        for parts, confidence in ((to_users, model.item_confidence), (to_items, model.user_confidence))
    ]
    graph = torch.zeros(sum(adjacency.shape), sum(adjacency.shape), dtype=adjacency.dtype)
    graph[: model.n_users, model.n_users :], graph[model.n_users :, : model.n_users] = weights
    layers = [unit(torch.cat([tables[0], model.item_embedding]))]
    for _ in range(config["n_layers"]):
        layers.append(graph @ layers[-1])
    id_users, id_items = sum(layers).split([model.n_users, model.n_items])
    users, items = torch.stack([id_users, *users], dim=1), torch.stack([id_items, *items], dim=1)
    margins = (users[batch["user_id"]] * (items[batch["item_id"]] - items[batch["neg_item_id"]])).sum(2)
    loss = -torch.log(torch.sigmoid(margins.sum(1))).mean()
    loss = loss - config["weak_weight"] * torch.log(torch.sigmoid(margins.amin(1))).mean()
    squares = (model.item_embedding[torch.cat([batch["item_id"], batch["neg_item_id"]])] ** 2).mean()
    squares = squares + sum((table[batch["user_id"]] ** 2).mean() for table in embedding.tables)
    if config["regularise_whole_table"]:
        squares = squares + (embedding.tables[1 if embedding.kind == "separate" else 0][1:] ** 2).mean()
    return loss + config["reg_weight"] * squares


def unit(rows):
    return rows / rows.norm(dim=1, keepdim=True).clamp(min=1e-12)


def attention(targets, sources, adjacency):
    """Softmax of the dot products over each target's sources, ``[n_targets, n_sources]``."""
    exponentials = (targets @ sources.T).exp() * adjacency
    return exponentials / exponentials.sum(1, keepdim=True).clamp(min=1e-300)
