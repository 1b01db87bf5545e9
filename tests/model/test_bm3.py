"""BM3 against its formulae (WWW 2023)."""

from __future__ import annotations

import pytest
import torch

from recbole_mm.testing.models import ModelConformance
from tests.reference import (
    assert_same_loss_and_gradients,
    interactions,
    mean_of_layers,
    start_example,
    symmetric_graph,
    training_batch,
    write_example,
)
from tests.shape_only import TMALL, build, count_parameters


class TestBM3(ModelConformance):
    model = "BM3"
    state_dict_keys = {
        "user_embedding", "item_embedding", "visual_feature", "textual_feature",
        "predictor.weight", "predictor.bias",
        "projections.0.weight", "projections.0.bias", "projections.1.weight", "projections.1.bias",
    }  # fmt: skip
    planted_epochs = 40

    def test_parameter_count_of_the_published_table(self, tmp_path):
        assert count_parameters(build("BM3", TMALL, tmp_path)) == 9_447_104

    def test_batches_have_no_negative_items(self, run):
        assert "neg_item_id" not in run.batch()


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    return write_example(tmp_path_factory.mktemp("example"))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"n_layers": 2, "reg_weight": 3.0},
        {"modalities": ["textual"]},
        {"modalities": ["acoustic", "textual", "visual"]},
        {"modality_loss_weight": 0.0},
        {"trainable_features": False},
    ],
)
def test_loss_and_gradients(example, settings):
    run = start_example("BM3", example, dropout=0.0, **settings)
    batch = training_batch(run)
    assert_same_loss_and_gradients(run, batch, lambda: dense_loss(run, batch))


def test_a_target_is_perturbed_once_for_a_row(example):
    """As where dropout acts on whole tables: five times the same pair has the loss of the pair."""
    model = start_example("BM3", example, dropout=0.5).model
    pair = {"user_id": torch.tensor([2]), "item_id": torch.tensor([5])}
    losses = []
    for times in (1, 5):
        torch.manual_seed(4)
        losses.append(model.calculate_loss({name: ids.repeat(times) for name, ids in pair.items()}))
    torch.testing.assert_close(*losses)


def test_dropout_acts_on_targets_in_training_only(example):
    run = start_example("BM3", example, dropout=0.5)
    batch = training_batch(run)
    plain = start_example("BM3", example, dropout=0.0).model.calculate_loss(batch)
    assert run.model.calculate_loss(batch) != run.model.calculate_loss(batch) != plain
    torch.testing.assert_close(run.model.eval().calculate_loss(batch), plain)


def test_targets_pass_no_gradient(example):
    """With these two losses alone a pair's user gets a gradient from L_ui only, its item from L_iu only."""
    model = start_example("BM3", example, dropout=0.0, modality_loss_weight=0.0, reg_weight=0.0).model
    users, items = (table.detach().requires_grad_() for table in model.encode())
    model.encode = lambda: (users, items)
    model.calculate_loss({"user_id": torch.tensor([2]), "item_id": torch.tensor([5])}).backward()
    user, item = users.detach()[2].requires_grad_(), items.detach()[5].requires_grad_()
    (-torch.cosine_similarity(model.predictor(user), item.detach(), dim=0)).backward()
    (-torch.cosine_similarity(model.predictor(item), user.detach(), dim=0)).backward()
    torch.testing.assert_close(users.grad[2], user.grad)
    torch.testing.assert_close(items.grad[5], item.grad)


def test_pad_rows_take_no_part(example):
    run = start_example("BM3", example, dropout=0.0)
    batch = training_batch(run)
    before = run.model.calculate_loss(batch)
    with torch.no_grad():
        run.model.user_embedding[0] = 100.0
        run.model.item_embedding[0] = 100.0
        run.model.visual_feature[0] = 100.0
    assert torch.equal(before, run.model.calculate_loss(batch))


def test_the_score_goes_through_the_predictor_on_both_sides(example):
    run = start_example("BM3", example)
    users, items = dense_tables(run)
    predict = run.model.predictor
    scores = run.model.eval().full_sort_predict({"user_id": torch.arange(13)}).view(13, 10)
    torch.testing.assert_close(scores[:, 1:], (predict(users) @ predict(items).T)[:, 1:])


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"n_layers": 0}, "n_layers: 0"),
        ({"dropout": 1.0}, "dropout: 1.0"),
        ({"dropout": -0.1}, "dropout: -0.1"),
    ],
)
def test_bad_settings(example, settings, message):
    with pytest.raises(ValueError, match=message):
        start_example("BM3", example, **settings)


def dense_tables(run):
    model = run.model
    ego = torch.cat([model.user_embedding, model.item_embedding])
    nodes = mean_of_layers(symmetric_graph(interactions(run)), ego, run.config["n_layers"])
    users, items = nodes.split([model.n_users, model.n_items])
    return users, items + model.item_embedding


def dense_loss(run, batch):
    """The loss without dropout, whole tables computed before the batch is looked up."""
    model, config = run.model, run.config
    user_table, item_table = dense_tables(run)
    user_ids, item_ids = batch["user_id"], batch["item_id"]
    user, item = user_table[user_ids], item_table[item_ids]

    def distance(prediction, target):
        target = target.detach()
        cosine = (prediction * target).sum(1) / prediction.norm(dim=1) / target.norm(dim=1)
        return (1 - cosine).mean()

    def predict(rows):
        return rows @ model.predictor.weight.T + model.predictor.bias

    loss = distance(predict(user), item) + distance(predict(item), user)
    for name, layer in zip(model.modalities, model.projections, strict=True):
        content = (model.feature(name) @ layer.weight.T + layer.bias)[item_ids]
        share = distance(predict(content), item) + distance(predict(content), content)
        loss = loss + config["modality_loss_weight"] * share
    norms = user_table[1:].square().sum().sqrt() + item_table[1:].square().sum().sqrt()
    return loss + config["reg_weight"] * norms / 9
