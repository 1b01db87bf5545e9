"""LUDP against its formulae (ACM TOMM 2023)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from recbole_mm.testing.models import ModelConformance
from recbole_mm.testing.toy import PRE_SPLIT, start, write_dataset
from tests.reference import (
    assert_same_loss_and_gradients,
    interactions,
    start_example,
    symmetric_graph,
    training_batch,
    write_example,
)
from tests.shape_only import build, count_parameters

WIDTHS = {"visual": 128, "acoustic": 256, "textual": 128}
THREE_MODALITIES = {"n_users": 9_000, "n_items": 500, "widths": WIDTHS}
ITEM_SIDE = {"item_fusion.weight", "item_fusion.bias", "item_fusion.query"}
USER_SIDE = {
    "projections.0.weight",
    "projections.1.weight",
    "preference_maps",
    "user_fusion.weight",
    "user_fusion.bias",
    "user_fusion.query",
}
IDS = {"user_embedding", "item_embedding"}
FEATURES = {"visual_feature", "textual_feature"}


class TestLUDP(ModelConformance):
    model = "LUDP"
    adapter_settings = {"preference_size": 8}
    settings = {"knn_k": 4, "preference_size": 7}
    state_dict_keys = IDS | FEATURES | USER_SIDE | ITEM_SIDE

    @pytest.mark.parametrize(
        "settings",
        [
            {},
            {"n_layers": 3, "n_item_layers": 2},
            {"n_item_layers": 3, "item_graph_norm": "BIN", "knn_k": 2},
            {"item_graph_norm": "WSYM", "knn_k": 5},
            {"l2_form": "all_parameters"},
            {"user_attention": "shared"},
            {"fusion": "sum"},
            {"fusion": "concat"},
            {"item_graph": False},
            {"user_preference": False},
            {"item_graph": False, "user_preference": False},
            {"modalities": ["textual"]},
            {"modalities": ["acoustic", "visual", "textual"]},
            {"trainable_features": False},
        ],
        ids=lambda settings: ", ".join(f"{key}={value}" for key, value in settings.items()) or "default",
    )
    def test_equals_dense_reference(self, tmp_path, settings):
        small = {"knn_k": 3, "preference_size": 5, "reg_weight": 0.1, "train_batch_size": 16}
        run = start_example(self.model, write_example(tmp_path), **{**small, **settings})
        batch = training_batch(run)
        reference = DenseLUDP(run, {**small, **settings})
        for table, expected in zip(run.model.encode(), reference.encode(), strict=True):
            # both are float64 sums of some hundred terms
            torch.testing.assert_close(table[1:], expected[1:], rtol=1e-10, atol=1e-12)
        assert_same_loss_and_gradients(run, batch, lambda: reference.loss(batch))

    def test_variants_have_only_their_own_parameters(self, data_path, tmp_path):
        def trained(**settings):
            model = self.start(data_path, tmp_path, **settings).model
            return {name for name, parameter in model.named_parameters() if parameter.requires_grad}

        assert trained(user_preference=False) == IDS | ITEM_SIDE
        assert trained(item_graph=False) == IDS | FEATURES | USER_SIDE
        assert trained(item_graph=False, user_preference=False) == IDS

    def test_item_graphs_are_those_of_the_features_as_loaded(self, run):
        before = [graph.to_dense() for graph in run.model.item_graphs]
        trainer = run.trainer()
        trainer.epochs = 1
        features = run.model.feature("visual").detach().clone()
        trainer.fit(run.train_data, run.valid_data, saved=False)
        assert not torch.equal(features, run.model.feature("visual"))
        for graph, dense in zip(run.model.item_graphs, before, strict=True):
            assert torch.equal(graph.to_dense(), dense)

    @pytest.mark.parametrize("norm", ["literal", "BIN", "WSYM"])
    def test_item_graph_of_each_norm(self, tmp_path, norm):
        model = start_example(self.model, write_example(tmp_path), knn_k=4, item_graph_norm=norm).model
        for graph, name in zip(model.item_graphs, model.modalities, strict=True):
            expected = dense_item_graph(model.feature(name).detach(), 4, norm)
            # the features were float32 when the graph was built
            torch.testing.assert_close(graph.to_dense(), expected, rtol=1e-5, atol=1e-7)

    def test_initial_values(self, tmp_path):
        model = build(self.model, THREE_MODALITIES, tmp_path)
        # 576,000 draws: their deviation is known to 0.1 percent
        assert model.user_embedding[1:].std().item() == pytest.approx(0.1, rel=0.005)
        assert not model.user_embedding[0].any() and not model.item_embedding[0].any()
        # 16,384 draws: to 0.6 percent
        assert model.projections[1].weight.std().item() == pytest.approx((2 / (64 + 256)) ** 0.5, rel=0.03)

    @pytest.mark.parametrize("scale", [1.0, 0.25])
    def test_no_part_drowns_the_others(self, tmp_path, scale):
        """Whatever the features' length, in numpy: as drawn, features a hundred times longer give such preferences."""
        folder = write_example(tmp_path)
        models = [start_example(self.model, folder, knn_k=3, preference_scale=value).model for value in (None, scale)]
        drawn, scaled = models
        graph = drawn.graph
        train = graph.user_degrees > 0
        collaborative = np.linalg.norm(drawn.collaborative()[: drawn.n_users].detach().numpy()[train], axis=1).mean()
        for place, name in enumerate(drawn.modalities):
            feature, first = drawn.feature(name).detach().numpy(), drawn.projections[place].weight.detach().numpy()
            means = np.stack([
                (feature @ first.T)[graph.items[graph.users == user]].mean(axis=0) for user in np.flatnonzero(train)
            ])  # fmt: skip
            lengths = []
            for model in models:
                second = model.preference_maps[place].detach().numpy()
                lengths.append(np.linalg.norm(leaky(leaky(means) @ second), axis=1).mean() / collaborative)
            assert abs(lengths[0] - scale) > 0.01
            assert lengths[1] == pytest.approx(scale, rel=1e-6)
        others = {name for name in drawn.state_dict() if name != "preference_maps"}
        assert all(torch.equal(drawn.state_dict()[name], scaled.state_dict()[name]) for name in others)

    def test_diagnostics_of_an_epoch(self, tmp_path):
        """How long the two parts of users are, by the rows that are scored; how alike users are, pair by pair."""
        model = start_example(self.model, write_example(tmp_path), knn_k=3).model
        users = model.encode()[0].detach()[1:]
        collaborative = model.collaborative().detach()[1 : model.n_users]
        unit = (users / users.norm(dim=1, keepdim=True)).numpy()
        pairs = [unit[a] @ unit[b] for a in range(len(unit)) for b in range(len(unit)) if a != b]
        assert model.diagnostics() == pytest.approx({
            "collaborative_length": collaborative.norm(dim=1).mean().item(),
            "preference_length": (users - collaborative).norm(dim=1).mean().item(),
            "user_cosine": np.mean(pairs),
        })  # fmt: skip
        without = start_example(self.model, write_example(tmp_path / "without"), knn_k=3, user_preference=False)
        assert without.model.diagnostics() == {}

    def test_attention_of_items_and_users_is_the_dense_references(self, tmp_path):
        run = start_example(self.model, write_example(tmp_path), knn_k=3, preference_size=5)
        weights, model = run.model.attention_weights(), run.model
        reference = DenseLUDP(run, {"knn_k": 3, "preference_size": 5})
        preferences = [reference.preference(place) for place in range(len(model.modalities))]
        similar = [reference.similar_items(graph) for graph in model.item_graphs]
        for side, views, fusion in (("item", similar, model.item_fusion), ("user", preferences, model.user_fusion)):
            scores = [torch.tanh(v @ w + fusion.bias) @ fusion.query for v, w in zip(views, fusion.weight, strict=True)]
            powers = torch.stack(scores, dim=1).exp()
            torch.testing.assert_close(weights[side], powers / powers.sum(dim=1, keepdim=True))

    def test_parameter_count(self, tmp_path):
        """IDs, features, W1 and W2 per modality, and two attentions of W per modality, b and q."""
        attention = 3 * 64 * 64 + 2 * 64
        expected = 9_500 * 64 + 500 * 512 + 512 * 64 + 3 * 64 * 64 + 2 * attention
        assert count_parameters(build(self.model, THREE_MODALITIES, tmp_path)) == expected

    def test_early_stopping_and_metrics_are_the_papers(self, tmp_path):
        config = start(self.model, write_example(tmp_path), **PRE_SPLIT, knn_k=3, protocol="published").config
        assert (config["valid_metric"], config["stopping_step"]) == ("Recall@10", 10)
        assert "Precision" in config["metrics"]

    def test_modality_of_constant_rows(self, tmp_path):
        """All items are equally similar: neighbours are the items of the smallest ids, and nothing breaks."""
        splits = {name: [(f"u{user}", f"i{(user + shift) % 5}") for user in range(5)] for shift, name in
                  enumerate(("train", "valid", "test"))}  # fmt: skip
        path = write_dataset(tmp_path, splits, {"visual": {f"i{item}": np.ones(3) for item in range(5)}})
        run = start(self.model, path, **PRE_SPLIT, knn_k=2)
        run.model.calculate_loss(run.batch()).backward()
        assert all(torch.isfinite(parameter.grad).all() for parameter in run.model.parameters())

    @pytest.mark.parametrize(
        "settings, message",
        [
            ({"knn_k": 31}, "knn_k: 31"),
            ({"knn_k": 0, "item_graph": False}, "knn_k: 0"),
            ({"item_graph_norm": "bin", "item_graph": False}, "item_graph_norm: 'bin'"),
            ({"preference_size": 0}, "preference_size: 0"),
            ({"embedding_size": 0}, "embedding_size: 0"),
            ({"n_layers": 0}, "n_layers: 0"),
            ({"n_item_layers": 0}, "n_item_layers: 0"),
            ({"item_graph_norm": "SYM"}, "item_graph_norm: 'SYM'"),
            ({"user_attention": "global"}, "user_attention: 'global'"),
            ({"l2_form": "squared"}, "l2_form: 'squared'"),
            ({"fusion": "max"}, "fusion: 'max'"),
        ],
    )
    def test_bad_settings(self, data_path, tmp_path, settings, message):
        with pytest.raises(ValueError, match=message):
            self.start(data_path, tmp_path, **settings)


class DenseLUDP:
    """Equations 1 to 14 on dense matrices, one modality and one layer at a time."""

    def __init__(self, run, settings):
        self.model, self.block, self.settings = run.model, interactions(run), settings

    def encode(self):
        model = self.model
        graph = symmetric_graph(self.block)
        layers = [torch.cat([model.user_embedding, model.item_embedding])]
        for _ in range(model.n_layers):
            layers.append(graph @ layers[-1])
        users, items = sum(layers).split([model.n_users, model.n_items])
        if self.settings.get("item_graph", True):
            similar = [self.similar_items(graph) for graph in model.item_graphs]
            items = items + self.fuse(similar, model.item_fusion)
        if self.settings.get("user_preference", True):
            preferences = [self.preference(place) for place in range(len(model.modalities))]
            shared = self.settings.get("user_attention") == "shared"
            users = users + self.fuse(preferences, model.user_fusion, shared)
        return users, items

    def similar_items(self, graph):
        rows = self.model.item_embedding
        for _ in range(self.model.n_item_layers):
            rows = graph.to_dense() @ rows
        return rows

    def preference(self, place):
        model = self.model
        projected = model.feature(model.modalities[place]) @ model.projections[place].weight.T
        mean = self.block @ projected / self.block.sum(dim=1, keepdim=True).clamp(min=1)
        return F.leaky_relu(F.leaky_relu(mean) @ model.preference_maps[place]) + model.user_embedding

    def fuse(self, views, parameters, shared=False):
        kind = self.settings.get("fusion", "attention")
        if kind == "concat":
            return torch.cat(views, dim=1) @ parameters.linear.weight.T + parameters.linear.bias
        if kind == "sum" or len(views) == 1:
            return sum(views)
        scores = [
            torch.tanh(view @ parameters.weight[place] + parameters.bias) @ parameters.query
            for place, view in enumerate(views)
        ]
        if shared:  # one number per modality, of all users but [PAD]
            scores = [score[1:].mean().expand(len(score)) for score in scores]
        terms = [score.exp() for score in scores]
        return sum((term / sum(terms))[:, None] * view for term, view in zip(terms, views, strict=True))

    def loss(self, batch):
        model = self.model
        users, items = self.encode()
        user, positive, negative = batch["user_id"], batch["item_id"], batch["neg_item_id"]
        margin = (users[user] * (items[positive] - items[negative])).sum(dim=1)
        loss = torch.log1p(torch.exp(-margin)).mean()
        if self.settings.get("l2_form") == "all_parameters":
            return loss + 0.1 * sum(weight.square().sum() for weight in model.parameters() if weight.requires_grad)
        egos = [model.user_embedding[user], model.item_embedding[positive], model.item_embedding[negative]]
        return loss + 0.1 * 0.5 * sum(rows.square().sum() for rows in egos) / 16


def leaky(x):
    return np.where(x > 0, x, 0.01 * x)


def dense_item_graph(feature, k, norm):
    """The operator over each item's k nearest items, itself included; row and column 0 ([PAD]) are zero."""
    rows = feature[1:] / feature[1:].norm(dim=1, keepdim=True)
    cosines = rows @ rows.T
    kept = torch.zeros_like(cosines)
    for item, similar in enumerate(cosines.topk(k).indices):
        kept[item, similar] = 1
    if norm == "literal":
        kept = kept / k**0.5
    elif norm == "BIN":
        kept = kept / k
    else:
        kept = kept * cosines
        roots = kept.sum(dim=1) ** -0.5
        kept = roots[:, None] * kept * roots
    return F.pad(kept, (1, 0, 1, 0))
