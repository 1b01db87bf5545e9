"""PGL against its formulae (AAAI 2025)."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recbole_mm.testing.models import ModelConformance
from tests.graph_reference import exact_symmetric_graph, kept_cosines
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

GLOBAL = {"principal_graph": "global", "svd_rank": 8, "svd_cut": 0.5}


class TestPGL(ModelConformance):
    model = "PGL"
    settings = {"knn_k": 3}
    state_dict_keys = {
        "user_embedding.tables.0", "user_embedding.tables.1", "visual_feature", "textual_feature",
        "projections.0.weight", "projections.0.bias", "projections.1.weight", "projections.1.bias",
    }  # fmt: skip
    planted_epochs = 30

    def test_parameter_count(self, tmp_path):
        """The authors' logs print 34,359,808."""
        assert count_parameters(build("PGL", BABY, tmp_path)) == 34_359_808

    @pytest.mark.parametrize("svd_weights", ["product", "bands"])
    def test_learns_from_singular_vectors(self, data_path, tmp_path, svd_weights):
        run = self.start(data_path, tmp_path, **GLOBAL, svd_weights=svd_weights, epochs=3)
        score, _ = run.trainer().fit(run.train_data, run.valid_data, saved=False)
        assert np.isfinite(score)


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    return write_example(tmp_path_factory.mktemp("example"))


def start_pgl(example, **settings):
    return start_example("PGL", example, **{"knn_k": 3, "contrast_weight": 0.6, **settings})


def masks(rate):
    """Draws masks as dropout does, the same ones at every start."""
    generator = torch.Generator().manual_seed(4)
    return lambda rows: (torch.rand(rows.shape, generator=generator) >= rate).to(rows.dtype) / (1 - rate)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"keep_ratio": 0.7, "n_layers": 3, "n_item_layers": 2, "contrast_temperature": 0.5},
        {"principal_graph": "full", "contrast_dropout": 0.5},
        GLOBAL,
        {**GLOBAL, "svd_weights": "bands", "svd_threshold": 0.05},
        {"modalities": ["textual"]},
        {"modalities": ["acoustic", "textual", "visual"], "weak_weight": 0.4},
        {"modality_weights": [0.7, 0.3], "contrast_weight": 0.0},
        {"trainable_features": False},
    ],
)
def test_loss_and_gradients(example, settings):
    run = start_pgl(example, **settings)
    batch, rate = training_batch(run), run.model.contrast_dropout
    for epoch in range(2):
        run.model.start_epoch(epoch)
        run.model.draw_mask = masks(rate)
        assert_same_loss_and_gradients(run, batch, lambda epoch=epoch: dense_loss(run, batch, epoch, masks(rate)))


@pytest.mark.parametrize("principal_graph", ["local", "global", "full"])
def test_evaluation_is_on_the_whole_graph_without_noise(example, principal_graph):
    run = start_pgl(example, principal_graph=principal_graph, svd_rank=8, svd_cut=0.5)
    full = start_pgl(example, principal_graph="full")
    full.model.load_state_dict(run.model.state_dict())
    run.model.start_epoch(0)
    scores = [torch.cat(model.eval().encode()) for model in (run.model, full.model, run.model)]
    assert torch.equal(scores[0], scores[1]) and torch.equal(scores[0], scores[2])
    users, items = dense_tables(run, symmetric_graph(interactions(run)))
    torch.testing.assert_close(scores[0].flatten(1), torch.cat([users, items]), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("settings", [{"principal_graph": "full"}, {"keep_ratio": 1.0}])
def test_with_all_edges_training_and_evaluation_encode_alike(example, settings):
    model = start_pgl(example, **settings).model
    model.start_epoch(0)
    assert torch.equal(torch.cat(model.train().encode()), torch.cat(model.eval().encode()))
    thinned = start_pgl(example, keep_ratio=0.5).model
    thinned.start_epoch(0)
    assert not torch.allclose(torch.cat(thinned.train().encode()), torch.cat(thinned.eval().encode()))


def test_training_edges_are_so_many_and_change_with_the_epoch(example):
    model = start_pgl(example, keep_ratio=0.3).model
    kept = [model.edge_sampler.kept_edges(epoch) for epoch in range(4)]
    assert {len(edges) for edges in kept} == {int(0.3 * model.graph.n_edges)}
    assert len({tuple(edges) for edges in kept}) > 1


def test_without_dropout_every_positive_logit_is_one_over_the_temperature(example):
    """Then a view equals itself: the contrast is the log-sum-exp of its cosines minus 5."""
    run = start_pgl(example, contrast_dropout=0.0, contrast_weight=2.0)
    batch = training_batch(run)
    user, positive, _ = run.model.batch_vectors(batch["user_id"], batch["item_id"], batch["neg_item_id"])
    expected = 0.0
    for rows in (user.flatten(1), positive.flatten(1)):
        unit = rows / rows.norm(dim=1, keepdim=True)
        logits = unit @ unit.T / 0.2
        torch.testing.assert_close(logits.diagonal(), torch.full_like(logits[0], 5.0))
        expected = expected + (torch.log(torch.exp(logits).sum(1)) - 5.0).mean()
    torch.testing.assert_close(run.model.contrast(user, positive), expected)


def test_the_score_is_the_sum_of_the_modalities(example):
    run = start_pgl(example)
    model, alone = run.model.eval(), []
    pairs = {"user_id": torch.tensor([1, 5, 11]), "item_id": torch.tensor([2, 9, 4])}
    ratings = model.modality_ratings(pairs["user_id"], pairs["item_id"])
    torch.testing.assert_close(model.predict(pairs), ratings.sum(1))
    for part, name in enumerate(model.modalities):  # nothing mixes them: one alone, on the same item graph, is the same
        single = start_pgl(example, modalities=[name]).model.eval()
        single.fused_item_graph = model.fused_item_graph
        single.user_embedding.tables[0].data = model.user_embedding.tables[part].data
        single.projections[0] = model.projections[part]
        alone.append(single.predict(pairs))
    torch.testing.assert_close(torch.stack(alone, dim=1), ratings)


def test_the_spectral_graph_is_kept_on_disk(example):
    first, second = (start_pgl(example, **GLOBAL).model.training_graph for _ in range(2))
    assert torch.equal(first.to_dense(), second.to_dense())
    assert list((example / "saved" / "graphs").glob("principal-graph-*.npz"))


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"principal_graph": "spectral"}, "principal_graph: 'spectral' is not allowed"),
        ({"keep_ratio": 0.0}, "keep_ratio: 0.0 is not allowed"),
        ({"keep_ratio": 0.01}, "keep_ratio: 0.01 keeps 0 of .* edges; give more"),
        ({"principal_graph": "global"}, "svd_rank: 64 must be at most"),
        ({"principal_graph": "global", "svd_rank": 6}, "svd_cut: 0.25 of svd_rank 6 is 1"),
        ({"contrast_dropout": 1.0}, "contrast_dropout: 1.0 is not allowed"),
        ({"contrast_temperature": 0}, "contrast_temperature: 0 is not allowed"),
        ({"knn_k": 0}, "knn_k: 0 is not allowed"),
        ({"modality_weights": [1.0]}, "modality_weights"),
    ],
)
def test_bad_settings(example, settings, message):
    with pytest.raises(ValueError, match=message):
        start_pgl(example, **settings)


def dense_tables(run, graph):
    """Users and items, modalities side by side, on a dense user-item graph."""
    model, config = run.model, run.config
    weights = config["modality_weights"] or {1: [1.0], 2: [0.1, 0.9], 3: [1 / 3] * 3}[len(model.modalities)]
    features = [run.dataset.modality_feature(name).double() for name in model.modalities]
    nearest = [(kept_cosines(feature, config["knn_k"]) != 0).double() / config["knn_k"] for feature in features]
    item_graph = sum(weight * graph for weight, graph in zip(weights, nearest, strict=True))
    users, items = [], []
    for name, layer, table in zip(model.modalities, model.projections, model.user_embedding.tables, strict=True):
        content = model.feature(name) @ layer.weight.T + layer.bias
        content = content / content.norm(dim=1, keepdim=True)
        nodes = mean_of_layers(graph, torch.cat([table, content]), config["n_layers"])
        users.append(nodes[: model.n_users])
        items.append(nodes[model.n_users :] + torch.linalg.matrix_power(item_graph, config["n_item_layers"]) @ content)
    return torch.cat(users, dim=1), torch.cat(items, dim=1)


def training_graph(run, epoch):
    """The dense graph of an epoch by its definition; which edges are kept is the sampler's own to say."""
    model, config, dense = run.model, run.config, interactions(run)
    if config["principal_graph"] == "full":
        return symmetric_graph(dense)
    if config["principal_graph"] == "global":
        return spectral_part(dense, config)
    kept = model.edge_sampler.kept_edges(epoch)
    edges = torch.zeros_like(dense)
    edges[model.graph.users[kept], model.graph.items[kept]] = 1
    assert (edges <= dense).all() and edges.sum() == int(config["keep_ratio"] * dense.sum())
    return symmetric_graph(edges)


def spectral_part(dense, config):
    """By all singular triplets of the square matrix: pairs share a value, and sum up the same in any basis."""
    matrix = symmetric_graph(dense)
    assert torch.allclose(matrix, exact_symmetric_graph(dense), atol=1e-6)
    values, vectors = torch.linalg.eigh(matrix)
    rank, kept = config["svd_rank"], int(config["svd_cut"] * config["svd_rank"])
    order = values.abs().argsort(descending=True)[:rank]
    s, u, v = values[order].abs(), vectors[:, order], vectors[:, order] * values[order].sign()
    if config["svd_weights"] == "product":
        graph = (u[:, :kept] * s[:kept] * s[rank - kept :]) @ v[:, :kept].T
    else:
        bands = sorted({*range(kept), *range(rank - kept, rank)})
        graph = (u[:, bands] * s[bands]) @ v[:, bands].T
    return torch.where(graph.abs() < config["svd_threshold"], 0.0, graph)


def dense_loss(run, batch, epoch, draw):
    """BPR and the contrast on the dense training graph."""
    config = run.config
    users, items = dense_tables(run, training_graph(run, epoch))
    user, positive, negative = users[batch["user_id"]], items[batch["item_id"]], items[batch["neg_item_id"]]
    margins = torch.stack([part.sum(1) for part in (user * (positive - negative)).split(6, dim=1)], dim=1)
    loss = -torch.log(torch.sigmoid(margins.sum(1))).mean()
    loss = loss - config["weak_weight"] * torch.log(torch.sigmoid(margins.amin(1))).mean()
    for rows in (user, positive):
        a, b = (x / x.norm(dim=1, keepdim=True).clamp(min=1e-12) for x in (rows * draw(rows), rows * draw(rows)))
        e = torch.exp(a @ b.T / config["contrast_temperature"])
        loss = loss - 0.5 * config["contrast_weight"] * torch.log(e.diagonal() / e.sum(1)).mean()
    return loss
