"""SMORE against its formulae (WSDM 2025)."""

from __future__ import annotations

import math

import pytest
import torch

from recbole_mm.testing.models import ModelConformance
from tests.graph_reference import checked_item_graphs, exact_symmetric_graph
from tests.model.test_mgcn import loss_of_parts
from tests.reference import (
    assert_same_loss_and_gradients,
    interactions,
    mean_of_layers,
    start_example,
    training_batch,
    write_example,
)
from tests.shape_only import BABY, build, count_parameters


class TestSMORE(ModelConformance):
    model = "SMORE"
    settings = {"knn_k": 4, "gate_dropout": 0.1}
    state_dict_keys = {
        "user_embedding", "item_embedding", "visual_feature", "textual_feature",
        "projections.0.weight", "projections.0.bias", "projections.1.weight", "projections.1.bias",
        "purifiers.0.weight", "purifiers.0.bias", "purifiers.1.weight", "purifiers.1.bias",
        "purifiers.2.weight", "purifiers.2.bias", "preferences.weight", "preferences.bias", "filters",
        "queries.0.0.weight", "queries.0.0.bias", "queries.0.2.weight",
        "queries.1.0.weight", "queries.1.0.bias", "queries.1.2.weight",
    }  # fmt: skip
    planted_epochs = 25

    def test_parameter_count_with_512_wide_features(self, tmp_path):
        """FREEDOM's published count, two gates per view, three filters of 33 frequencies and two queries."""
        model = build("SMORE", {**BABY, "widths": {"visual": 512, "textual": 512}}, tmp_path)
        square = 64 * 64
        assert count_parameters(model) == 8_980_544 + 6 * (square + 64) + 3 * 33 * 2 + 2 * (2 * square + 64)


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    return write_example(tmp_path_factory.mktemp("example"))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"knn_k": [2, 5], "n_layers": 4, "contrast_temperature": 0.5},
        {"modalities": ["visual"]},
        {"modalities": ["acoustic", "textual", "visual"], "knn_k": [2, 3, 4]},
        {"embedding_size": 5},
        {"trainable_features": False, "contrast_weight": 0.0},
    ],
)
def test_loss_and_gradients(example, settings):
    """Weights as large as the ranking loss, so that no term hides behind another."""
    settings = {"knn_k": 3, "contrast_weight": 0.5, "reg_weight": 20.0, **settings}
    run = start_example("SMORE", example, **settings)
    batch = training_batch(run)
    assert_same_loss_and_gradients(run, batch, lambda: loss_of_parts(run, batch, *dense_parts(run)))


def test_encoding(example):
    run = start_example("SMORE", example, knn_k=3, gate_dropout=0.5)
    run.model.eval()
    content, side = dense_parts(run)
    # float64 sums of a few dozen terms in different orders
    torch.testing.assert_close(torch.cat(run.model.encode()), content + side, rtol=1e-10, atol=1e-13)


def test_an_edge_of_one_graph_only_keeps_its_negative_value(example):
    """With k = 9 of 9 items in one modality, its graph has negative edges that the other graph lacks."""
    run = start_example("SMORE", example, knn_k=[9, 1])
    visual, textual, fused = (graph.to_dense() for graph in run.model.item_graphs)
    alone = (visual < 0) & (textual == 0)
    assert alone.any()
    assert torch.equal(fused[alone], visual[alone])


def test_gates_of_a_row_are_dropped_alike_wherever_the_batch_holds_it(example):
    run = start_example("SMORE", example, knn_k=3, gate_dropout=0.5)
    users, items = torch.tensor([1, 2, 1]), torch.tensor([3, 3, 4])
    sides = [run.model.batch_parts(users, items, items.flip(0))[1] for _ in range(2)]
    user, positive, negative = sides[0]
    assert torch.equal(user[0], user[2])
    assert torch.equal(positive[0], positive[1]) and torch.equal(positive[2], negative[0])
    assert not torch.equal(user, sides[1][0])


def test_dropped_gates_keep_the_mean(example):
    """Of 4,096 gates at rate 0.3 the share kept is 0.7 within 5 standard deviations (0.036)."""
    run = start_example("SMORE", example, knn_k=3, gate_dropout=0.3, embedding_size=64)
    views = torch.zeros(32, 3, 64, dtype=torch.float64)
    views[:, -1] = 3.0  # the only view that is not zero: side is its gate
    content = torch.ones(32, 64, dtype=torch.float64)
    gates = run.model.eval().side_information(content, views)
    dropped = run.model.train().side_information(content.repeat(2, 1), views.repeat(2, 1, 1))
    kept = dropped != 0
    assert kept.double().mean() == pytest.approx(0.7, abs=0.036)
    torch.testing.assert_close(dropped[kept], (gates.repeat(2, 1) / 0.7)[kept])


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"n_layers": 0}, "n_layers: 0"),
        ({"knn_k": [3]}, r"knn_k: \[3\] must be one number, or one for each of visual, textual"),
        ({"knn_k": [3, 10]}, "knn_k: 10 must be from 1 to 9"),
        ({"gate_dropout": 1.0}, "gate_dropout: 1.0"),
    ],
)
def test_bad_settings(example, settings, message):
    with pytest.raises(ValueError, match=message):
        start_example("SMORE", example, **{"knn_k": 3, **settings})


def dense_parts(run):
    """C and side of all nodes, ``[N, d]`` each."""
    model, config = run.model, run.config
    interaction_graph = exact_symmetric_graph(interactions(run))
    block = interaction_graph[: model.n_users, model.n_users :]
    ego = torch.cat([model.user_embedding, model.item_embedding])
    content = mean_of_layers(interaction_graph, ego, config["n_layers"])
    k = config["knn_k"]
    ks = k if isinstance(k, list) else [k] * len(model.modalities)
    graphs = checked_item_graphs(run, model.item_graphs[:-1], ks)
    fused_graph = torch.stack([torch.where(graph != 0, graph, -torch.inf) for graph in graphs]).amax(0)
    graphs.append(torch.where(torch.isinf(fused_graph), 0.0, fused_graph))
    views = []
    for graph, x, gate in zip(graphs, filtered(model), model.purifiers, strict=True):
        items = graph @ (model.item_embedding * torch.sigmoid(x @ gate.weight.T + gate.bias))
        views.append(torch.cat([block @ items, items]))
    *others, fused = views
    gates = torch.sigmoid(model.preferences(content)).chunk(len(views), dim=1)
    side = gates[-1] * fused
    for gate, view, (inner, _, outer) in zip(gates, others, model.queries, strict=False):
        exponentials = torch.exp(torch.tanh(fused @ inner.weight.T + inner.bias) @ outer.weight.T)
        side = side + gate * exponentials / exponentials.sum(1, keepdim=True) * view
    return content, side / len(views)


def filtered(model):
    """The inputs of the purifiers by sums of sines and cosines."""
    d = model.embedding_size
    angle = 2 * math.pi / d * torch.outer(torch.arange(d), torch.arange(d // 2 + 1)).double()
    wave = torch.complex(angle.cos(), -angle.sin()) / math.sqrt(d)
    spectra = []
    for name, projection in zip(model.modalities, model.projections, strict=True):
        x = model.feature(name) @ projection.weight.T + projection.bias
        spectra.append(x.to(wave.dtype) @ wave)
    spectra.append(torch.stack(spectra).prod(0))
    # A real signal has each frequency but the first, and of an even d the last, also as its conjugate.
    times = torch.full((d // 2 + 1,), 2.0, dtype=torch.float64)
    times[0] = 1.0
    if d % 2 == 0:
        times[-1] = 1.0
    filters = torch.complex(*model.filters.unbind(-1))
    products = [spectrum * response * times for spectrum, response in zip(spectra, filters, strict=True)]
    return [(product @ wave.conj().T).real for product in products]
