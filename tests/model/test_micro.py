"""MICRO against its formulae (TKDE 2022)."""

from __future__ import annotations

import pytest
import torch

from recbole_mm.testing.models import ModelConformance
from tests.graph_reference import checked_item_graphs, symmetric_by_rows
from tests.largest_tensor import LargestTensor
from tests.model.test_lattice import add_signal, disturb, learned_cosines, ranking_loss
from tests.reference import assert_same_loss_and_gradients, start_example, training_batch, write_example
from tests.shape_only import BABY, build, count_parameters


class TestMICRO(ModelConformance):
    model = "MICRO"
    settings = {"knn_k": 4}
    state_dict_keys = {
        "user_embedding", "item_embedding", "visual_feature", "textual_feature",
        "projections.0.weight", "projections.0.bias", "projections.1.weight", "projections.1.bias",
        "attention.hidden.weight", "attention.hidden.bias", "attention.query.weight",
    }  # fmt: skip
    planted_epochs = 25

    def test_parameter_count_with_512_wide_features(self, tmp_path):
        """FREEDOM's published count and the attention, which is MGCN's: 4,224."""
        model = build("MICRO", {**BABY, "widths": {"visual": 512, "textual": 512}}, tmp_path)
        assert count_parameters(model) == 8_980_544 + 4_224


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    return write_example(tmp_path_factory.mktemp("example"))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"n_layers": 3, "n_item_layers": 2, "knn_k": 5, "contrast_temperature": 0.2},
        {"modalities": ["textual"]},
        {"modalities": ["acoustic", "textual", "visual"]},
        {"contrast_weight": 0.0},
        {"trainable_features": False},
    ],
)
def test_loss_and_gradients_of_the_first_batch(example, settings):
    settings = {"knn_k": 3, "reg_weight": 20.0, "contrast_weight": 0.5, "raw_graph_weight": 0.4, **settings}
    run = start_example("MICRO", example, **settings)
    batch = training_batch(run)
    assert_same_loss_and_gradients(run, batch, lambda: dense_loss(run, batch, dense_graphs(run)))


@pytest.mark.parametrize("stale_gradients", ["skip", "zero"])
def test_loss_and_gradients_of_a_later_batch(example, stale_gradients):
    """The graphs stay those of the first batch's parameters; ID tables and attention learn."""
    run = start_example("MICRO", example, knn_k=3, contrast_weight=0.5, stale_gradients=stale_gradients)
    batch = training_batch(run)
    run.model.calculate_loss(batch)
    graphs = [graph.detach() for graph in dense_graphs(run)]
    disturb(run.model)
    assert_same_loss_and_gradients(run, batch, lambda: dense_loss(run, batch, graphs))
    assert run.model.attention.query.weight.grad.any()
    run.model.zero_grad()
    run.model.calculate_loss(batch).backward()
    for parameter in run.model.graph_parameters():
        assert (parameter.grad is None) == (stale_gradients == "skip")


def test_evaluation_has_the_graphs_of_the_current_parameters(example):
    run = start_example("MICRO", example, knn_k=3, raw_graph_weight=0.4)
    run.model.calculate_loss(training_batch(run))
    disturb(run.model)
    expected = add_signal(run, fused(run, dense_views(run, dense_graphs(run))))
    # float64 sums of a few dozen terms in different orders
    torch.testing.assert_close(run.model.eval().encode(), expected, rtol=1e-10, atol=1e-13)


def test_nothing_is_of_the_size_of_all_item_pairs(tmp_path):
    shape = {"n_users": 100, "n_items": 3000, "widths": {"visual": 8, "textual": 6}}
    model = build("MICRO", shape, tmp_path, embedding_size=8)
    ids = torch.arange(1, 60)
    batch = {"user_id": ids, "item_id": ids, "neg_item_id": ids + 1}
    model.train()
    with LargestTensor() as largest:
        for _ in range(2):
            model.calculate_loss(batch).backward()
    assert 3000 * 10 < largest.numel < 3000 * 3000 / 4


@pytest.mark.parametrize(
    "settings, message",
    [({"n_layers": 0}, "n_layers: 0 is not allowed for MICRO"), ({"knn_k": 10}, "knn_k: 10 must be from 1 to 9")],
)
def test_bad_settings(example, settings, message):
    with pytest.raises(ValueError, match=message):
        start_example("MICRO", example, **{"knn_k": 3, **settings})


def dense_graphs(run):
    """G^m of the current parameters with their gradients, ``[n_items, n_items]`` each."""
    share = run.config["raw_graph_weight"]
    raw = checked_item_graphs(run, run.model.raw_graphs, [run.config["knn_k"]] * len(run.model.modalities))
    learned = [symmetric_by_rows(graph) for graph in learned_cosines(run)]
    return [(1 - share) * graph + share * other for graph, other in zip(learned, raw, strict=True)]


def dense_views(run, graphs):
    power = run.config["n_item_layers"]
    return [torch.linalg.matrix_power(graph, power) @ run.model.item_embedding for graph in graphs]


def fused(run, views):
    hidden, query = run.model.attention.hidden, run.model.attention.query
    scores = [torch.tanh(view @ hidden.weight.T + hidden.bias) @ query.weight.T for view in views]
    exponentials = torch.exp(torch.cat(scores, dim=1))
    weights = exponentials / exponentials.sum(1, keepdim=True)
    return sum(weights[:, [m]] * view for m, view in enumerate(views))


def dense_loss(run, batch, graphs):
    """The ranking loss, and the contrast by the matrices of all cosines, [PAD] left out."""
    views = dense_views(run, graphs)
    whole = fused(run, views)
    loss = ranking_loss(run, batch, *add_signal(run, whole))
    b = whole[1:] / whole[1:].norm(dim=1, keepdim=True)
    for view in views:
        a = view[1:] / view[1:].norm(dim=1, keepdim=True)
        within, across = (torch.exp(a @ other.T / run.config["contrast_temperature"]) for other in (a, b))
        normaliser = within.sum(1) + across.sum(1) - within.diagonal()
        loss = loss + run.config["contrast_weight"] * -torch.log(across.diagonal() / normaliser).mean()
    return loss
