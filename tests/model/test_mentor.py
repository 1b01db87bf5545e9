"""MENTOR against its formulae (AAAI 2025)."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch

from recbole_mm.testing.models import ModelConformance
from tests.dual_reference import log2_loss, user_vectors
from tests.graph_reference import exact_symmetric_graph, kept_cosines
from tests.reference import (
    assert_same_loss_and_gradients,
    interactions,
    start_example,
    training_batch,
    write_example,
)
from tests.shape_only import BABY, build, count_parameters

MASK = {"mask_map.weight", "mask_map.bias"}
TWO_LAYERS = ("0.weight", "0.bias", "2.weight", "2.bias")
ENCODERS = ["id_encoder", *(f"twins.{number}" for number in range(4))]
DESCRIBED = {"feature_mask_gradient": True, "shared_twins": True}
WEIGHTS = {"knn_k": 3, "reg_weight": 0.3, "align_weight": 2.0, "contrast_weight": 0.5}


class TestMENTOR(ModelConformance):
    model = "MENTOR"
    settings = {"knn_k": 3}
    parameters_without_gradient = MASK
    state_dict_keys = {
        "user_embedding.tables.0", "user_embedding.tables.1", "user_fusion", "item_embedding",
        *(f"projections.{number}.{part}" for number in range(2) for part in TWO_LAYERS),
        *(f"{encoder}.projection.{part}" for encoder in ENCODERS for part in TWO_LAYERS),
        *(f"{encoder}.preference" for encoder in ENCODERS), *MASK,
    }  # fmt: skip
    planted_epochs = 30

    @pytest.mark.parametrize(
        "settings, count",
        [({}, 12_775_402 + 128 * 129), ({"contrast_weight": 0.0, "mask_weight": 0.0}, 12_775_402 - 7_338_496),
         ({"shared_twins": True, "mask_weight": 0.0}, 3_708_138 + 1_728_768)],
    )  # fmt: skip
    def test_parameter_count(self, tmp_path, settings, count):
        """Those with a gradient in the public code, and the map of masking, which has none there."""
        assert count_parameters(build("MENTOR", BABY, tmp_path, **settings)) == count


class TestAsDescribed(ModelConformance):
    """With masking and contrast that train the encoders which recommend."""

    model = "MENTOR"
    settings = {"knn_k": 3, **DESCRIBED, "contrast_scope": "batch"}
    planted_epochs = 30


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    return write_example(tmp_path_factory.mktemp("example"))


def start_mentor(example, **settings):
    """With masks and noise that depend on their shapes and order alone."""
    run = start_example("MENTOR", example, **{**WEIGHTS, **settings})
    run.model.draw_noise, run.model.draw_mask = Draws(), Draws(rate=0.5)
    return run


class Draws:
    """Draws the same values in the same order at each start."""

    def __init__(self, rate=None):
        self.rate, self.generator = rate, torch.Generator().manual_seed(8)

    def __call__(self, like):
        drawn = torch.rand(like.shape, generator=self.generator, dtype=torch.float64)
        return drawn if self.rate is None else (drawn >= self.rate) / (1 - self.rate)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"n_layers": 3, "n_item_layers": 2, "contrast_temperature": 0.5},
        {"contrast_scope": "batch"},
        DESCRIBED,
        {**DESCRIBED, "contrast_scope": "batch"},
        {"modality_weights": [0.7, 0.3], "contrast_weight": 0.0, "align_weight": 0.0},
        {"mask_weight": 0.0},
        {"modalities": ["textual"]},
        {"modalities": ["acoustic", "visual", "textual"], "weak_weight": 0.7, **DESCRIBED},
        {"user_embedding": "prompted", "prompt_num": 3},
    ],
)
def test_loss_and_gradients(example, settings):
    run = start_mentor(example, **settings)
    batch = training_batch(run)
    assert_same_loss_and_gradients(run, batch, lambda: dense_loss(run, batch))


@pytest.mark.parametrize("modalities", [["textual"], ["visual", "textual"]])
def test_encoding(example, modalities):
    run = start_mentor(example, modalities=modalities)
    users, items = run.model.eval().encode()
    expected = dense_fused(run, dense_branches(run))
    torch.testing.assert_close(torch.cat([users, items]).flatten(1), expected, rtol=1e-10, atol=1e-13)
    assert torch.equal(torch.cat([users, items]), torch.cat(run.model.encode())), "no noise in evaluation"


def gradients(run, term):
    """Names of the parameters that a term of the loss moves."""
    run.model.zero_grad()
    ids = run.model.batch(training_batch(run))
    model, nodes = run.model, run.model.nodes()
    if term == "masking":
        loss = model.feature_masking(*model.encode())
    elif term == "contrast":
        loss = model.contrast(*model.noisy_views(*nodes), *ids[:2])
    else:
        loss = model.alignment(*model._all_views(nodes))
    if not loss.requires_grad:
        return set()
    loss.backward()
    return {name for name, one in model.named_parameters() if one.grad is not None and one.grad.any()}


def test_as_released_masking_trains_nothing_and_the_contrast_the_user_weights_alone(example):
    run = start_mentor(example)
    assert gradients(run, "masking") == set()
    moved = gradients(run, "contrast")
    assert "user_fusion" in moved
    assert all(name == "user_fusion" or name.startswith("twins.") for name in moved)


def test_as_described_both_train_what_recommends(example):
    run = start_mentor(example, **DESCRIBED)
    main = {"user_embedding.tables.0", "user_embedding.tables.1", "projections.0.0.weight", "projections.1.2.bias"}
    assert main | MASK <= gradients(run, "masking")
    assert main | {"user_fusion"} <= gradients(run, "contrast")


def test_ids_learn_from_the_alignment_alone(example):
    run = start_mentor(example)
    assert {"item_embedding", "id_encoder.preference"} <= gradients(run, "alignment")
    alone = start_mentor(example, align_weight=0.0)
    alone.model.calculate_loss(training_batch(alone)).backward()
    assert alone.model.item_embedding.grad is None


def test_equal_views_are_aligned(example):
    """Two modalities and the IDs that have the same rows, and user weights of 1: all four views are one."""
    model = start_mentor(example).model
    with torch.no_grad():
        model.user_fusion.fill_(1.0)
        rows = [torch.randn(n, 1, 6, dtype=torch.float64).expand(-1, 3, -1) for n in (model.n_users, model.n_items)]
        assert model.alignment(*rows).item() == pytest.approx(0.0, abs=1e-14)


def test_without_contrast_the_recommendations_are_the_same_but_for_the_user_weights(example):
    """The twins can be left out: one step of the rest moves what recommends as before, up to w's share."""
    moved = []
    for weight in (0.0, 0.5):
        run = start_mentor(example, contrast_weight=weight)
        run.model.calculate_loss(training_batch(run)).backward()
        moved.append({name: one.grad for name, one in run.model.named_parameters() if one.grad is not None})
    shared = set(moved[0]) - {"user_fusion"}
    assert "user_embedding.tables.0" in shared and set(moved[1]) > set(moved[0])
    # the twins' initial values are drawn last: the main branches start alike
    for name in ("user_embedding.tables.0", "projections.0.0.weight"):
        torch.testing.assert_close(moved[0][name], moved[1][name], rtol=1e-12, atol=1e-15)
    assert not torch.allclose(moved[0]["user_fusion"], moved[1]["user_fusion"])


def test_the_score_is_the_sum_of_the_modalities(example):
    model = start_mentor(example).model.eval()
    pairs = {"user_id": torch.tensor([1, 5, 11]), "item_id": torch.tensor([2, 9, 4])}
    torch.testing.assert_close(model.predict(pairs), model.modality_ratings(*pairs.values()).sum(1))


def test_noise_has_an_entry_for_every_twin_of_every_layer(example):
    run, shapes = start_mentor(example, n_layers=3), []
    draw = run.model.draw_noise
    run.model.draw_noise = lambda layer: shapes.append(tuple(layer.shape)) or draw(layer)
    run.model.calculate_loss(training_batch(run))
    assert shapes == [(run.model.graph.n_nodes, 4, 6)] * 3


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"knn_k": 10}, "knn_k: 10 must be from 1 to 9"),
        ({"contrast_scope": "rows"}, "contrast_scope: 'rows' is not allowed"),
        ({"mask_dropout": 1.0}, "mask_dropout: 1.0 is not allowed"),
        ({"contrast_temperature": 0}, "contrast_temperature: 0 is not allowed"),
        ({"align_weight": -1}, "align_weight: -1 is not allowed"),
    ],
)
def test_bad_settings(example, settings, message):
    with pytest.raises(ValueError, match=message):
        start_mentor(example, **settings)


# ---------------------------------------------------------------- reference


def dense_graphs(run):
    """S of users and items and the weighted item graph, dense."""
    config, modalities = run.config, run.model.modalities
    weights = config["modality_weights"] or {1: [1.0], 2: [0.1, 0.9], 3: [1 / 3] * 3}[len(modalities)]
    features = [run.dataset.modality_feature(name).double() for name in modalities]
    graphs = [(kept_cosines(feature, config["knn_k"]) != 0).double() / config["knn_k"] for feature in features]
    items = sum(weight * graph for weight, graph in zip(weights, graphs, strict=True))
    return exact_symmetric_graph(interactions(run)), torch.linalg.matrix_power(items, config["n_item_layers"])


def project(layers, feature):
    first, _, second = layers
    hidden = feature @ first.weight.T + first.bias
    return torch.where(hidden > 0, hidden, 0.01 * hidden) @ second.weight.T + second.bias


def branch(run, preference, content, noise=None):
    """``out = x + a + b + ...`` of one branch, ``[N, d]``; the noise of each layer ``[L, N, d]``."""
    graph, _ = dense_graphs(run)
    x = torch.cat([preference, content])
    total = layer = x / x.norm(dim=1, keepdim=True).clamp(min=1e-12)
    for depth in range(run.config["n_layers"]):
        layer = graph @ layer
        if noise is not None:
            r = noise[depth]
            layer = layer + 0.1 * torch.sign(layer).detach() * r / r.norm(dim=1, keepdim=True)
        total = total + layer
    return total


def dense_branches(run):
    """``Z^m`` of each modality."""
    model = run.model
    users = user_vectors(model).unbind(1)
    contents = [project(layers, model.feature(name)) for name, layers in zip(model.modalities, model.projections,
                                                                              strict=True)]  # fmt: skip
    return [branch(run, *pair) for pair in zip(users, contents, strict=True)]


def view(run, branches, weights):
    """The view of some branches side by side, ``[N, M * d]``; weights ``[n_users, M]`` or 1."""
    n_users = run.model.n_users
    users = torch.cat([z[:n_users] * (weights[:, [m]] if torch.is_tensor(weights) else weights)
                       for m, z in enumerate(branches)], dim=1)  # fmt: skip
    items = torch.cat([z[n_users:] for z in branches], dim=1)
    return torch.cat([users, items + dense_graphs(run)[1] @ items])


def dense_fused(run, branches):
    return view(run, branches, run.model.user_fusion)


def gap(x, y):
    return (x.var() - y.var()).abs() + (x.mean() - y.mean()).abs()


def without_pad(run, rows):
    n_users = run.model.n_users
    return torch.cat([rows[1:n_users], rows[n_users + 1 :]])


def dense_loss(run, batch):
    model, config = run.model, run.config
    n_modalities, n_users = len(model.modalities), model.n_users
    branches = dense_branches(run)
    fused = dense_fused(run, branches)
    user, positive, negative = (
        fused[batch["user_id"]], fused[n_users + batch["item_id"]], fused[n_users + batch["neg_item_id"]]
    )  # fmt: skip
    products = (user * (positive - negative)).split(6, dim=1)
    loss = log2_loss(torch.stack([part.sum(1) for part in products], dim=1), config["weak_weight"])
    squares = [(table[batch["user_id"]] ** 2).mean() for table in model.user_embedding.tables]
    loss = loss + config["reg_weight"] * (sum(squares) + (model.user_fusion[1:] ** 2).mean())
    if config["align_weight"]:
        ids = branch(run, model.id_encoder.preference, project(model.id_encoder.projection, model.item_embedding))
        views = [view(run, [z] * n_modalities, 1.0) for z in [ids, *branches]]
        rows = [without_pad(run, one) for one in [*views, fused]]
        loss = loss + config["align_weight"] * sum(gap(x, y) for x, y in combinations(rows, 2))
    if config["mask_weight"]:
        loss = loss + config["mask_weight"] * dense_masking(run, fused)
    if config["contrast_weight"]:
        loss = loss + config["contrast_weight"] * dense_contrast(run, batch)
    return loss


def dense_masking(run, fused):
    model, draw, total = run.model, Draws(rate=0.5), 0.0
    for rows in (fused[1 : model.n_users], fused[model.n_users + 1 :]):
        mapped = rows @ model.mask_map.weight.T + model.mask_map.bias
        masked = rows * draw(rows)
        cosines = (masked * mapped).sum(1) / (masked.norm(dim=1) * mapped.norm(dim=1)).clamp(min=1e-8)
        total = total + 1 - cosines.mean()
    return total if run.config["feature_mask_gradient"] else total.detach()


def dense_contrast(run, batch):
    """Noise by twin from the layers' noises, and InfoNCE with all rows or the batch's as negatives."""
    model, config = run.model, run.config
    n_modalities, draw = len(model.modalities), Draws()
    like = torch.empty(model.graph.n_nodes, 2 * n_modalities, 6)
    noise = torch.stack([draw(like) for _ in range(config["n_layers"])])
    twins = []
    for number in range(2):
        branches = []
        for m, name in enumerate(model.modalities):
            preference, layers = user_vectors(model)[:, m], model.projections[m]
            if not config["shared_twins"]:
                encoder = model.twins[2 * m + number]
                preference, layers = encoder.preference, encoder.projection
            content = project(layers, model.feature(name))
            branches.append(branch(run, preference, content, noise[:, :, 2 * m + number]))
        twins.append(dense_fused(run, branches))
    total = 0.0
    for ids, stop in ((batch["user_id"], model.n_users), (model.n_users + batch["item_id"], model.graph.n_nodes)):
        if config["contrast_scope"] == "all":
            ids = torch.arange(1 if stop == model.n_users else model.n_users + 1, stop)
        a, b = (twin[ids] / twin[ids].norm(dim=1, keepdim=True) for twin in twins)
        e = torch.exp(a @ b.T / config["contrast_temperature"])
        total = total - torch.log(e.diagonal() / e.sum(1)).mean()
    return total
