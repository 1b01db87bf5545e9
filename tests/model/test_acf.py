"""ACF against its formulae (SIGIR 2017, modalities as components)."""

from __future__ import annotations

import pytest
import torch

import recbole_mm.model.acf
from recbole_mm.testing.models import ModelConformance
from tests.reference import assert_same_loss_and_gradients, start_example, training_batch, write_example


class TestACF(ModelConformance):
    model = "ACF"
    settings = {"hidden_size": 6}
    state_dict_keys = {
        "user_embedding", "item_embedding", "history_embedding",
        "projections.0.weight", "projections.0.bias", "projections.1.weight", "projections.1.bias",
        "component_user.weight", "component_user.bias", "component_content.weight",
        "component_attention.weight", "item_user.weight", "item_user.bias", "item_own.weight",
        "item_history.weight", "item_content.weight", "item_attention.weight",
    }  # fmt: skip
    planted_epochs = 25


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    return write_example(tmp_path_factory.mktemp("example"))


@pytest.mark.parametrize(
    "settings", [{}, {"reg_weight": 0.0}, {"modalities": ["textual", "acoustic", "visual"]}]
)
def test_loss_and_gradients(example, settings):
    run = start_example("ACF", example, **{"hidden_size": 5, "reg_weight": 0.4, **settings})
    batch = training_batch(run)
    assert_same_loss_and_gradients(run, batch, lambda: dense_loss(run, batch))


def test_a_batch_of_one_short_history(example):
    """User u0 has two items, of which one is the positive."""
    run = start_example("ACF", example, reg_weight=0.4)
    user = run.dataset.token2id("user_id", "u0")
    positive = run.model.graph.items[run.model.graph.users == user][0]
    ids = {"user_id": user, "item_id": positive, "neg_item_id": 9}
    batch = {name: torch.tensor([value]) for name, value in ids.items()}
    assert_same_loss_and_gradients(run, batch, lambda: dense_loss(run, batch))


def test_a_history_of_the_positive_item_alone_is_empty(example):
    run = start_example("ACF", example)
    users = torch.from_numpy(run.model.graph.users)
    item = torch.from_numpy(run.model.graph.items)
    run.model.history_lengths = (torch.arange(13) == users[0]).long()
    history, items, counted = run.model._histories_without(item[:1], users[:1])
    assert items.tolist() == [item[0]] and not counted.any()
    assert not history.any()


def test_scores_with_the_whole_history(example, monkeypatch):
    """In blocks or at once; user u11 has no history."""
    run = start_example("ACF", example)
    model = run.model.eval()
    expected = torch.stack([user_vector(model, user) for user in range(1, 13)]) @ model.item_embedding.T
    for block_entries in (1, 7, 1 << 17):
        monkeypatch.setattr(recbole_mm.model.acf, "BLOCK_ENTRIES", block_entries)
        scores = model.full_sort_predict({"user_id": torch.arange(1, 13)}).view(12, 10)
        torch.testing.assert_close(scores[:, 1:], expected[:, 1:])
    lonely = run.dataset.token2id("user_id", "u11")
    assert torch.equal(model.encode()[0][lonely], model.user_embedding[lonely])


def test_one_modality_takes_all_of_the_component_attention(example):
    run = start_example("ACF", example, modalities=["visual"])
    before = torch.cat(run.model.encode())
    with torch.no_grad():
        run.model.component_user.weight.normal_()
    assert torch.equal(before, torch.cat(run.model.encode()))


def test_bad_settings(example):
    with pytest.raises(ValueError, match="hidden_size: 0"):
        start_example("ACF", example, hidden_size=0)


def user_vector(model, user, excluded=None):
    """``u_i + sum_l a(i,l) p_l`` by a loop over the history."""
    graph = model.graph
    history = [item for item in graph.items[graph.users == user] if item != excluded]
    if not history:
        return model.user_embedding[user]
    logits = torch.stack([item_logit(model, user, item) for item in history])
    return model.user_embedding[user] + logits.softmax(0) @ model.history_embedding[history]


def item_logit(model, user, item):
    own, profile = model.user_embedding[user], model.history_embedding[item]
    contents = torch.stack([
        layer.weight @ model.feature(name)[item] + layer.bias
        for name, layer in zip(model.modalities, model.projections, strict=True)
    ])  # fmt: skip
    hidden = model.component_user.weight @ own + model.component_user.bias
    hidden = torch.relu(hidden + contents @ model.component_content.weight.T)
    content = (hidden @ model.component_attention.weight[0]).softmax(0) @ contents
    hidden = (
        model.item_user.weight @ own
        + model.item_own.weight @ model.item_embedding[item]
        + model.item_history.weight @ profile
        + model.item_content.weight @ content
        + model.item_user.bias
    )
    return torch.relu(hidden) @ model.item_attention.weight[0]


def dense_loss(run, batch):
    """The loss by a loop over the batch."""
    model, graph = run.model, run.model.graph
    total = 0.0
    for user, positive, negative in zip(*(ids.tolist() for ids in batch.values()), strict=True):
        vector = user_vector(model, user, excluded=positive)
        items = model.item_embedding[positive], model.item_embedding[negative]
        total = total - torch.log(torch.sigmoid(vector @ items[0] - vector @ items[1]))
        history = [item for item in graph.items[graph.users == user] if item != positive]
        rows = [model.user_embedding[user], *items, *model.history_embedding[history]]
        total = total + run.config["reg_weight"] * 0.5 * sum(row.square().sum() for row in rows)
    return total / len(batch["user_id"])
