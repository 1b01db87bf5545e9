"""GUME against its formulae (CIKM 2024)."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch

from recbole_mm.testing.models import ModelConformance
from tests.graph_reference import checked_item_graphs, exact_symmetric_graph, kept_cosines, symmetric_by_rows
from tests.reference import (
    assert_same_loss_and_gradients,
    interactions,
    mean_of_layers,
    start_example,
    training_batch,
    write_example,
)
from tests.shape_only import BABY, build, count_parameters

EXTENDED = {"extended_users.0", "extended_users.1"}
WEIGHTS = {
    "knn_k": 4, "contrast_weight": 0.5, "user_contrast_weight": 0.6, "align_weight": 2.0,
    "reg_weight": 20.0, "extended_reg_weight": 3.0,
}  # fmt: skip


class TestGUME(ModelConformance):
    model = "GUME"
    settings = {"knn_k": 4}
    state_dict_keys = {
        "user_embedding", "item_embedding", "visual_feature", "textual_feature", *EXTENDED,
        "projections.0.weight", "projections.0.bias", "projections.1.weight", "projections.1.bias",
        "purifiers.0.weight", "purifiers.0.bias", "purifiers.1.weight", "purifiers.1.bias",
        "preferences.weight", "preferences.bias",
        "attention.hidden.weight", "attention.hidden.bias", "attention.query.weight",
    }  # fmt: skip
    planted_epochs = 25

    def test_parameter_count(self, tmp_path):
        assert count_parameters(build("GUME", BABY, tmp_path)) == 36_076_352


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    return write_example(tmp_path_factory.mktemp("example"))


def start_gume(example, **settings):
    run = start_example("GUME", example, **{**WEIGHTS, **settings})
    run.model.draw_noise = Noise(run.model)
    return run


class Noise:
    """Draws a table for all users each time, the same ones in the same order at each start."""

    def __init__(self, model):
        self.shape, self.generator = model.user_embedding.shape, torch.Generator().manual_seed(5)

    def __call__(self, users):
        return torch.rand(self.shape, generator=self.generator, dtype=torch.float64)[users]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"n_layers": 1, "n_item_layers": 1, "knn_k": 6, "contrast_temperature": 0.2, "user_contrast_temperature": 0.3},
        {"item_edges_symmetric": True, "extended_items": "raw"},
        {"noise_terms": False},
        {"modalities": ["textual"]},
        {"modalities": ["acoustic", "textual", "visual"], "knn_k": 6},
        {"trainable_features": False, "align_weight": 0.0},
        {"contrast_weight": 0.0, "user_contrast_weight": 0.0},
        {"reg_weight": 0.0, "extended_reg_weight": 0.0},
    ],
)
def test_loss_and_gradients(example, settings):
    run = start_gume(example, **settings)
    batch = training_batch(run)
    assert run.model.item_edges.nnz
    assert_same_loss_and_gradients(run, batch, lambda: dense_loss(run, batch))


@pytest.mark.parametrize("modalities", [["textual"], ["visual", "textual"]])
def test_encoding(example, modalities):
    run = start_gume(example, modalities=modalities)
    run.model.eval()
    content, side, _, _ = dense_parts(run)
    torch.testing.assert_close(torch.cat(run.model.encode()), content + side, rtol=1e-10, atol=1e-13)
    assert torch.equal(torch.cat(run.model.encode()), torch.cat(run.model.encode())), "no noise in evaluation"


def test_without_item_edges_it_scores_as_mgcn(example):
    """With each item its own only neighbour the graphs are MGCN's, and so is all that enters the score."""
    run = start_gume(example, knn_k=1, n_layers=2)
    other = start_example("MGCN", example, knn_k=1, n_layers=2)
    other.model.load_state_dict({name: value for name, value in run.model.state_dict().items() if name not in EXTENDED})
    graph = exact_symmetric_graph(interactions(run))
    assert run.model.item_edges.nnz == 0
    torch.testing.assert_close(run.model.full_graph.to_dense(), graph)
    torch.testing.assert_close(run.model.user_item_block.to_dense(), graph[:13, 13:])
    vectors, mgcn_vectors = (torch.cat(started.model.eval().encode()) for started in (run, other))
    torch.testing.assert_close(vectors, mgcn_vectors, rtol=1e-12, atol=1e-14)


def test_an_item_nobody_bought_receives_messages_from_those_like_it(example):
    """i8 has no training interaction: MGCN's C of it is its own row divided by the layers."""
    run = start_gume(example, knn_k=6)
    item = run.dataset.token2id("item_id", "i8")
    model = run.model.eval()
    assert model.graph.item_degrees[item] == 0 and model.item_edges.to_scipy()[item].nnz
    alone = model.item_embedding[item] / (run.config["n_layers"] + 1)
    assert not torch.isclose(model.content()[1][item], alone).any()
    off = start_gume(example, knn_k=1).model
    torch.testing.assert_close(off.content()[1][item], off.item_embedding[item] / (run.config["n_layers"] + 1))


def test_equal_views_are_aligned_and_shared_by_three(example):
    """X^v = X^t: side = X / 3, as each differs from the common part by nothing, and the moments are the same."""
    model = start_gume(example).model
    view = torch.randn(8, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    side = model.side_information(torch.randn(8, 6, dtype=torch.float64), view.unsqueeze(1).expand(-1, 2, -1))
    torch.testing.assert_close(side, view / 3)
    both = torch.cat([view, view], dim=1)
    assert model.alignment(both, both.flip(0)).item() == pytest.approx(0.0, abs=1e-14)


def test_extended_interest_is_not_in_the_score(example):
    model = start_gume(example).model.eval()
    before = torch.cat(model.encode())
    with torch.no_grad():
        for table in model.extended_users:
            table.normal_()
    assert torch.equal(before, torch.cat(model.encode()))


def test_a_user_twice_in_the_batch_has_one_noise_in_each_view(example):
    run, drawn = start_gume(example), []
    draw = run.model.draw_noise
    run.model.draw_noise = lambda users: drawn.append(users) or draw(users)
    batch = training_batch(run)
    assert len(batch["user_id"].unique()) < len(batch["user_id"])
    run.model.calculate_loss(batch)
    assert len(drawn) == 4
    assert all(torch.equal(users, batch["user_id"].unique()) for users in drawn)


def test_the_regularisers_divide_a_short_batch_by_the_full_size(example):
    off = {"contrast_weight": 0.0, "user_contrast_weight": 0.0, "align_weight": 0.0, "train_batch_size": 16}
    losses = []
    for weights in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0)):
        run = start_gume(example, **off, reg_weight=weights[0], extended_reg_weight=weights[1])
        losses.append(run.model.calculate_loss(training_batch(run)))
    batch = training_batch(run)
    users, items = run.model.encode()
    rows = [users[batch["user_id"]], items[batch["item_id"]], items[batch["neg_item_id"]]]
    extended = dense_parts(run)[2][run.model.n_users + batch["item_id"]]
    expected = [0.5 * sum(vectors.square().sum() for vectors in some) / 16 for some in (rows, [extended])]
    for loss, share in zip(losses[1:], expected, strict=True):  # the difference of two losses of size 1 keeps 12 digits
        torch.testing.assert_close(loss - losses[0], share, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"n_layers": 0}, "n_layers: 0"),
        ({"n_item_layers": 0}, "n_item_layers: 0"),
        ({"knn_k": 10}, "knn_k: 10 must be from 1 to 9"),
        ({"knn_k": 0}, "knn_k: 0 is not allowed"),
        ({"user_contrast_temperature": 0}, "user_contrast_temperature: 0 is not allowed"),
        ({"extended_items": "all"}, "extended_items: 'all' is not allowed"),
    ],
)
def test_bad_settings(example, settings, message):
    with pytest.raises(ValueError, match=message):
        start_gume(example, **settings)


# ---------------------------------------------------------------- reference


def dense_enhanced_graph(run):
    """From the cosines of the features as loaded, edge by edge."""
    config, dense = run.config, interactions(run)
    features = [run.dataset.modality_feature(name).double() for name in run.model.modalities]
    agreed = torch.stack([kept_cosines(feature, config["knn_k"]) != 0 for feature in features]).all(0).double()
    agreed.fill_diagonal_(0)
    if config["item_edges_symmetric"]:
        agreed = torch.maximum(agreed, agreed.T)
    n_users, n_items = dense.shape
    whole = torch.zeros(n_users + n_items, n_users + n_items, dtype=torch.float64)
    whole[:n_users, n_users:], whole[n_users:, :n_users], whole[n_users:, n_users:] = dense, dense.T, agreed
    return symmetric_by_rows(whole)


def dense_parts(run):
    """C, side and T of all nodes, ``[N, d]``, and the modalities' X."""
    model, config = run.model, run.config
    graph = dense_enhanced_graph(run)
    block = graph[: model.n_users, model.n_users :]
    content = mean_of_layers(graph, torch.cat([model.user_embedding, model.item_embedding]), config["n_layers"])
    gates = torch.sigmoid(model.preferences(content)).chunk(len(model.modalities), dim=1)
    graphs = checked_item_graphs(run, model.item_graphs, [config["knn_k"]] * len(model.modalities))
    views, extended = [], []
    parts = (model.modalities, graphs, model.projections, model.purifiers, model.extended_users)
    for name, item_graph, reduced, gate, table in zip(*parts, strict=True):
        x = model.feature(name) @ reduced.weight.T + reduced.bias
        z = model.item_embedding * torch.sigmoid(x @ gate.weight.T + gate.bias)
        items = torch.linalg.matrix_power(item_graph, config["n_item_layers"]) @ z
        views.append(torch.cat([block @ items, items]))
        own = z if config["extended_items"] == "raw" else items
        extended.append(mean_of_layers(graph, torch.cat([table, own]), config["n_layers"]))
    hidden, query = model.attention.hidden, model.attention.query
    scores = torch.cat([torch.tanh(view @ hidden.weight.T + hidden.bias) @ query.weight.T for view in views], dim=1)
    weights = torch.exp(scores) / torch.exp(scores).sum(1, keepdim=True)
    common = sum(weights[:, [m]] * view for m, view in enumerate(views))
    kept = sum(gate * (view - common) for gate, view in zip(gates, views, strict=True))
    return content, (common + kept) / (len(views) + 1), sum(extended) / len(extended), views


def nce(a, b, temperature):
    a, b = (rows / rows.norm(dim=1, keepdim=True) for rows in (a, b))
    e = torch.exp(a @ b.T / temperature)
    return -torch.log(e.diagonal() / e.sum(1)).mean()


def dense_loss(run, batch):
    model, config = run.model, run.config
    content, side, extended, views = dense_parts(run)
    users, positives, negatives = (
        batch["user_id"], model.n_users + batch["item_id"], model.n_users + batch["neg_item_id"]
    )  # fmt: skip
    user, positive, negative = ((content + side)[index] for index in (users, positives, negatives))
    loss = -torch.log(torch.sigmoid((user * positive).sum(1) - (user * negative).sum(1))).mean()
    squares = sum(vectors.square().sum() for vectors in (user, positive, negative))
    squares = config["reg_weight"] * squares + config["extended_reg_weight"] * extended[positives].square().sum()
    loss = loss + 0.5 * squares / config["train_batch_size"]
    rows = [torch.cat([view[1 : model.n_users], view[model.n_users + 1 :]]) for view in views]
    for x, y in combinations(rows, 2):
        loss = loss + config["align_weight"] * ((x.var() - y.var()).abs() + (x.mean() - y.mean()).abs())
    for own in (users, positives):
        loss = loss + config["contrast_weight"] * nce(side[own], content[own], config["contrast_temperature"])
    tau = config["user_contrast_temperature"]
    terms = nce(extended[users], side[users], tau)
    if config["noise_terms"]:
        draw, everyone = Noise(model), torch.arange(model.n_users)
        for table in (side[: model.n_users], extended[: model.n_users]):
            noises = [draw(everyone) for _ in range(2)]
            moved = [table + 0.1 * torch.sign(table).detach() * r / r.norm(dim=1, keepdim=True) for r in noises]
            terms = terms + nce(moved[0][users], moved[1][users], tau)
    return loss + config["user_contrast_weight"] * terms
