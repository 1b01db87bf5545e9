"""MMGCN against its formulae (ACM MM 2019)."""

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


class TestMMGCN(ModelConformance):
    model = "MMGCN"
    adapter_narrows_features = True
    settings = {"content_widths": {"visual": 6}}
    state_dict_keys = {
        "user_embedding", "item_embedding", "visual_preference", "textual_preference",
        "content_projections.0.weight", "content_projections.0.bias",
        *(f"networks.{m}.{layer}.{name}" for m in (0, 1) for layer in (0, 1, 2)
          for name in ("message.weight", "own.weight", "own.bias", "fusion.weight", "fusion.bias")),
    }  # fmt: skip
    planted_epochs = 30

    def test_parameter_count(self, tmp_path):
        tables = (19_445 + 7_050) * 64 + 19_445 * (256 + 384)
        first = sum(c * c + 64 * c + 64 + 64 * (c + 64) + 64 for c in (256, 384))
        later = 2 * 2 * (64 * 64 + 64 * 64 + 64 + 64 * 128 + 64)
        assert count_parameters(build("MMGCN", BABY, tmp_path)) == tables + 4096 * 256 + 256 + first + later

    def test_initial_values(self, tmp_path):
        model = build("MMGCN", BABY, tmp_path)
        n_users, n_nodes = 19_445, 19_445 + 7_050
        tables = [
            *((table, n_nodes + 64) for table in (model.user_embedding, model.item_embedding)),
            (model.visual_preference, n_users + 256),
            (model.textual_preference, n_users + 384),
        ]
        for table, size in tables:
            assert not table[0].any()
            # at least 450,000 normal draws: the standard deviation is known to 0.1 %
            assert table[1:].std().item() == pytest.approx(math.sqrt(2 / size), rel=0.005)
        for network in model.networks:
            for depth, layer in enumerate(network):
                normal = [layer.message.weight, layer.own.weight] + [layer.fusion.weight] * (depth == 0)
                for weight in normal:  # 4,096 draws at least: known to 1.1 %
                    assert weight.std().item() == pytest.approx(math.sqrt(2 / sum(weight.shape)), rel=0.05)
                if depth:  # torch's own: uniform within 1 / sqrt(fan in)
                    assert layer.fusion.weight.abs().max().item() == pytest.approx(
                        1 / math.sqrt(128), rel=0.01
                    )

    def test_frozen_tables_are_saved_and_never_trained(self, data_path, tmp_path):
        run = self.start(data_path, tmp_path, frozen_tables=True, epochs=2)
        tables = ["user_embedding", "item_embedding", "visual_preference", "textual_preference"]
        assert not set(tables) & set(dict(run.model.named_parameters()))
        before = {name: run.model.state_dict()[name].clone() for name in tables}
        run.trainer().fit(run.train_data, run.valid_data, saved=False)
        assert all(torch.equal(run.model.state_dict()[name], before[name]) for name in tables)


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    return write_example(tmp_path_factory.mktemp("example"))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"content_widths": {"visual": 7, "textual": 2}, "n_layers": 2},
        {"content_widths": None},
        {"concat": False},
        {"frozen_tables": True},
        {"modalities": ["textual"], "n_layers": 1},
        {"modalities": ["acoustic", "visual", "textual"]},
        {"trainable_features": True},
    ],
)
def test_loss_and_gradients(example, settings):
    run = start_example("MMGCN", example, **{"content_widths": {"visual": 7}, "reg_weight": 0.3, **settings})
    batch = training_batch(run)
    assert_same_loss_and_gradients(run, batch, lambda: dense_loss(run, batch))


def test_where_there_are_fewer_users_than_items(tmp_path):
    """Messages are then projected on the side of the users: the same numbers."""
    folder = write_example(tmp_path)
    file = folder / "toy" / "toy.train.inter"
    header, *rows = file.read_text().splitlines()
    rows = [row for row in rows if row.split("\t")[0] in {"u0", "u1", "u2", "u3"}]
    file.write_text("\n".join([header, *rows, "u0\ti4"]) + "\n")
    run = start_example("MMGCN", folder, content_widths={"visual": 7})
    assert run.model.n_users < run.model.n_items
    batch = {
        "user_id": torch.tensor([1, 2]),
        "item_id": torch.tensor([1, 3]),
        "neg_item_id": torch.tensor([2, 5]),
    }
    assert_same_loss_and_gradients(run, batch, lambda: dense_loss(run, batch))


@pytest.mark.parametrize(
    "settings, shown",
    [
        ({}, "content_widths: visual 256, textual as it is (by default)"),
        ({"modalities": ["textual"]}, "content_widths: textual as it is (by default)"),
        ({"content_widths": {"visual": 7}}, "content_widths: visual 7, textual as it is"),
        ({"content_widths": {"visual": 7, "textul": 2}}, "'textul' is no modality in use (did you mean textual?)"),
    ],
)
def test_the_log_says_which_modalities_pass_a_layer(example, caplog, settings, shown):
    """Names decide, so that the same features under other names give another model."""
    with caplog.at_level("INFO"):
        start_example("MMGCN", example, **settings)
    assert any(shown in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize(
    "settings, message",
    [({"n_layers": 0}, "n_layers: 0"), ({"content_widths": {"visual": 0}}, "content_widths.visual: 0 is not allowed")],
)
def test_bad_settings(example, settings, message):
    with pytest.raises(ValueError, match=message):
        start_example("MMGCN", example, **settings)


def dense_loss(run, batch):
    model, config, dense = run.model, run.config, interactions(run)
    adjacency = torch.zeros(sum(dense.shape), sum(dense.shape), dtype=dense.dtype)
    adjacency[: model.n_users, model.n_users :], adjacency[model.n_users :, : model.n_users] = dense, dense.T
    mean = (adjacency / adjacency.sum(1, keepdim=True)).nan_to_num()
    ids = torch.cat([model.user_embedding, model.item_embedding])
    representations = []
    for modality, name in enumerate(model.modalities):
        content = model.feature(name)
        if name in (config["content_widths"] or {}):
            layer = model.content_projections[modality]
            content = content @ layer.weight.T + layer.bias
        x = torch.cat([getattr(model, f"{name}_preference"), content])
        x = x / x.norm(dim=1, keepdim=True).clamp(min=1e-12)
        for layer in model.networks[modality]:
            h = leaky(mean @ (x @ layer.message.weight.T))
            own = leaky(x @ layer.own.weight.T + layer.own.bias) + ids
            if config["concat"]:
                x = leaky(torch.cat([h, own], dim=1) @ layer.fusion.weight.T + layer.fusion.bias)
            else:
                x = leaky(h @ layer.fusion.weight.T + layer.fusion.bias + own)
        representations.append(x)
    users, items = torch.stack(representations).mean(0).split([model.n_users, model.n_items])
    user, positive, negative = users[batch["user_id"]], items[batch["item_id"]], items[batch["neg_item_id"]]
    loss = -torch.log(torch.sigmoid((user * positive).sum(1) - (user * negative).sum(1))).mean()
    squares = (model.user_embedding[torch.cat([batch["user_id"]] * 2)] ** 2).mean()
    squares = (
        squares + (model.item_embedding[torch.cat([batch["item_id"], batch["neg_item_id"]])] ** 2).mean()
    )
    squares = squares + (getattr(model, f"{model.modalities[0]}_preference")[1:] ** 2).mean()
    return loss + config["reg_weight"] * squares


def leaky(x):
    return torch.where(x > 0, x, 0.01 * x)
