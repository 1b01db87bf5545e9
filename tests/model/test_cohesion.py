"""COHESION against its formulae (SIGIR 2025)."""

from __future__ import annotations

import pytest
import torch

from recbole_mm.load import open_checkpoint
from recbole_mm.testing.models import ModelConformance
from tests.dual_reference import user_graph
from tests.graph_reference import kept_cosines
from tests.reference import (
    assert_same_loss_and_gradients,
    interactions,
    start_example,
    symmetric_graph,
    training_batch,
    write_example,
)
from tests.shape_only import BABY, build, count_parameters

TWO_LAYERS = ("0.weight", "0.bias", "2.weight", "2.bias")
OF_IDS = {"user_embedding.tables.0", *(f"id_projection.{part}" for part in TWO_LAYERS)}


class TestCOHESION(ModelConformance):
    model = "COHESION"
    settings = {"user_graph_width": 5, "knn_k": 3}
    parameters_without_gradient = OF_IDS
    state_dict_keys = {
        "user_embedding.tables.1", "user_embedding.tables.2", "user_fusion", "item_embedding", *OF_IDS,
        *(f"projections.{number}.{part}" for number in range(2) for part in TWO_LAYERS),
    }  # fmt: skip
    planted_epochs = 30

    def test_parameter_count(self, tmp_path):
        """The public code registers 37,020,906 on Baby, copies of the features among them, which nothing reads.

        4,159,338 have a gradient; the ID branch's users and layers have none.
        """
        model = build("COHESION", BABY, tmp_path)
        copies = 7_050 * (4096 + 384)
        of_ids = 19_445 * 64 + 2 * 64 * 256 + 256 + 64
        assert count_parameters(model) == 37_020_906 - copies == 4_159_338 + of_ids

    def test_a_checkpoint_scores_on_the_edges_of_its_epoch(self, data_path, tmp_path):
        run = self.start(data_path, tmp_path, edge_dropout=0.5, eval_graph="masked", epochs=3)
        trainer = run.trainer()
        trainer.fit(run.train_data, run.valid_data)
        trainer.evaluate(run.test_data, load_best_model=True)
        scores = self.scores(run)
        run.model = open_checkpoint(trainer.saved_model_file).model
        assert torch.equal(scores, self.scores(run))


class TestIDBranchThatLearns(ModelConformance):
    """``id_branch_gradient: True``: every parameter has a gradient."""

    model = "COHESION"
    settings = {"user_graph_width": 5, "knn_k": 3, "id_branch_gradient": True}
    planted_epochs = 30


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    return write_example(tmp_path_factory.mktemp("example"))


def start_cohesion(example, **settings):
    return start_example("COHESION", example, **{"user_graph_width": 4, "knn_k": 3, "reg_weight": 0.3, **settings})


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"id_branch_gradient": True},
        {"n_layers": 3, "n_item_layers": 2, "knn_k": 4, "user_graph_width": 2},
        {"edge_dropout": 0.5},
        {"adaptive_weights": False, "weak_weight": 0.7},
        {"modality_weights": [0.7, 0.3]},
        {"modalities": ["textual"]},
        {"modalities": ["acoustic", "visual", "textual"], "weak_weight": 0.7, "id_branch_gradient": True},
        {"user_embedding": "shared"},
        {"user_embedding": "prompted", "prompt_num": 3},
    ],
)
def test_loss_and_gradients(example, settings):
    run = start_cohesion(example, **settings)
    batch = training_batch(run)
    for epoch in range(2):
        run.model.start_epoch(epoch)
        assert_same_loss_and_gradients(run, batch, lambda epoch=epoch: dense_loss(run, batch, epoch))


@pytest.mark.parametrize("eval_graph", ["full", "masked"])
@pytest.mark.parametrize("edge_dropout", [0.0, 0.5])
def test_encoding(example, eval_graph, edge_dropout):
    run = start_cohesion(example, eval_graph=eval_graph, edge_dropout=edge_dropout)
    run.model.start_epoch(1)
    trained = [side.flatten(1) for side in run.model.encode()]
    scored = [side.flatten(1) for side in run.model.eval().encode()]
    masked = dense_vectors(run, thinned(run, 1), 1)
    full = dense_vectors(run, symmetric_graph(interactions(run)), 1)
    for side in range(2):
        torch.testing.assert_close(trained[side], masked[side], rtol=1e-10, atol=1e-13)
        expected = full[side] if eval_graph == "full" else masked[side]
        torch.testing.assert_close(scored[side], expected, rtol=1e-10, atol=1e-13)
    assert torch.allclose(masked[0], full[0]) == (edge_dropout == 0)


def test_vectors_of_a_batch_are_rows_of_all_vectors(example):
    run = start_cohesion(example)
    ids = run.model.batch(training_batch(run))
    users, items = run.model.encode()
    for rows, expected in zip(
        run.model.batch_vectors(*ids), (users[ids[0]], items[ids[1]], items[ids[2]]), strict=True
    ):
        torch.testing.assert_close(rows, expected)


def test_weights_of_margins_sum_to_the_content_modalities(example):
    model = start_cohesion(example).model
    margins = torch.randn(20, 3, dtype=torch.float64, requires_grad=True)
    weights = model.margin_weights(margins)
    torch.testing.assert_close(weights.sum(1), torch.full((20,), 2.0, dtype=torch.float64))
    assert not weights.requires_grad
    equal = model.margin_weights(torch.full((1, 3), 0.7, dtype=torch.float64))
    torch.testing.assert_close(equal, torch.full((1, 3), 2 / 3, dtype=torch.float64))
    assert weights.argmin(1).equal(margins.argmax(1)), "what separates the pair already counts least"


def test_the_sign_of_the_ids_reaches_their_own_ratings_alone(example):
    model = start_cohesion(example).model.eval()
    pairs = torch.tensor([1, 5, 11]), torch.tensor([2, 9, 4])
    before = model.modality_ratings(*pairs)
    with torch.no_grad():
        model.item_embedding.neg_()
    after = model.modality_ratings(*pairs)
    torch.testing.assert_close(before[:, 1:], after[:, 1:], rtol=1e-12, atol=0)
    assert not torch.isclose(before[:, 0], after[:, 0]).any()


def test_nodes_have_unit_length_and_items_no_negative_entry(example):
    model = start_cohesion(example).model
    for name in model.rated_modalities:
        blended = model.blend(model.content(name))
        assert (blended > 0).all()
        root = ((model.item_embedding**2 + model.content(name) ** 2) / 2).sqrt()
        torch.testing.assert_close(blended, root, rtol=0, atol=1e-4)  # what 1e-8 adds under a root


def test_the_score_is_the_sum_of_the_ratings(example):
    model = start_cohesion(example).model.eval()
    pairs = {"user_id": torch.tensor([1, 5, 11]), "item_id": torch.tensor([2, 9, 4])}
    ratings = model.modality_ratings(*pairs.values())
    assert ratings.shape == (3, 3)
    torch.testing.assert_close(model.predict(pairs), ratings.sum(1))


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"n_layers": 0}, "n_layers: 0"),
        ({"knn_k": 10}, "knn_k: 10 must be from 1 to 9"),
        ({"user_graph_width": 0}, "user_graph_width: 0"),
        ({"edge_dropout": 1.0}, "edge_dropout: 1.0 is not allowed"),
        ({"eval_graph": "last"}, "eval_graph: 'last' is not allowed"),
    ],
)
def test_bad_settings(example, settings, message):
    with pytest.raises(ValueError, match=message):
        start_cohesion(example, **settings)


# ---------------------------------------------------------------- reference


def thinned(run, epoch):
    """The dense graph of an epoch; which edges are kept is the sampler's own to say."""
    model, dense = run.model, interactions(run)
    kept = model.edge_sampler.kept_edges(epoch)
    edges = torch.zeros_like(dense)
    edges[model.graph.users[kept], model.graph.items[kept]] = 1
    assert (edges <= dense).all() and edges.sum() == int(dense.sum() * (1 - run.config["edge_dropout"]))
    return symmetric_graph(edges)


def preferences(model):
    """The users of each branch, ``[n_users, d]``."""
    embedding = model.user_embedding
    if embedding.kind == "separate":
        return list(embedding.tables)
    prompts = embedding.prompts.sum(1) if embedding.kind == "prompted" else [0.0] * len(model.rated_modalities)
    return [embedding.tables[0] + prompt for prompt in prompts]


def dense_branch(run, graph, preference, layers, feature):
    """``Z`` of one branch, ``[N, d]``."""
    model = run.model
    hidden = feature @ layers[0].weight.T + layers[0].bias
    z = torch.where(hidden > 0, hidden, 0.01 * hidden) @ layers[2].weight.T + layers[2].bias
    q = torch.sqrt((model.item_embedding * model.item_embedding + z * z) / 2 + 1e-8)
    x = torch.cat([preference, q])
    total = layer = start = x / x.norm(dim=1, keepdim=True).clamp(min=1e-12)
    for _ in range(run.config["n_layers"]):
        product = graph @ layer
        norms = product.norm(dim=1).clamp(min=1e-8) * start.norm(dim=1).clamp(min=1e-8)
        layer = ((product * start).sum(1) / norms)[:, None] * product
        total = total + layer
    return total


def dense_vectors(run, graph, epoch):
    """``U`` and ``V``, branches side by side."""
    model, config = run.model, run.config
    features = [model.item_embedding, *(model.feature(name) for name in model.modalities)]
    layers = [model.id_projection, *model.projections]
    parts = [dense_branch(run, graph, *branch) for branch in zip(preferences(model), layers, features, strict=True)]
    if not config["id_branch_gradient"]:
        parts[0] = parts[0].detach()
    users, items = torch.cat(parts, dim=1).split([model.n_users, model.n_items])
    weights = config["modality_weights"] or {1: [1.0], 2: [0.1, 0.9], 3: [1 / 3] * 3}[len(model.modalities)]
    raw = [run.dataset.modality_feature(name).double() for name in model.modalities]
    graphs = [(kept_cosines(feature, config["knn_k"]) != 0).double() / config["knn_k"] for feature in raw]
    item_graph = sum(weight * matrix for weight, matrix in zip(weights, graphs, strict=True))
    items = items + torch.linalg.matrix_power(item_graph, config["n_item_layers"]) @ items
    return users + user_graph(run, epoch) @ users, items


def dense_loss(run, batch, epoch):
    model, config = run.model, run.config
    users, items = dense_vectors(run, thinned(run, epoch), epoch)
    products = users[batch["user_id"]] * (items[batch["item_id"]] - items[batch["neg_item_id"]])
    margins = torch.stack([part.sum(1) for part in products.split(6, dim=1)], dim=1)
    e = torch.exp(margins).detach()
    weights = 1 - e / e.sum(1, keepdim=True) if config["adaptive_weights"] else 1.0
    loss = -torch.log2(torch.sigmoid((weights * margins).sum(1))).mean()
    loss = loss - config["weak_weight"] * torch.log2(torch.sigmoid(margins.amin(1))).mean()
    tables = list(model.user_embedding.tables)[-len(model.modalities) :]
    squares = sum((table[batch["user_id"]] ** 2).mean() for table in tables)
    return loss + config["reg_weight"] * (squares + (model.user_fusion[1:] ** 2).mean())
