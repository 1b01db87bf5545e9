"""BUIR-NB against its formulae (SIGIR 2021)."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from recbole.trainer import Trainer

from recbole_mm.graph import BipartiteGraph
from recbole_mm.model.buir import EdgeDropout
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


class TestBUIR(ModelConformance):
    model = "BUIR"
    state_dict_keys = {
        "user_embedding", "item_embedding", "target_user_embedding", "target_item_embedding",
        "predictor.weight", "predictor.bias",
    }  # fmt: skip
    planted_epochs = 40

    def test_batches_have_no_negative_items(self, run):
        assert "neg_item_id" not in run.batch()

    def test_an_interrupted_run_goes_on_to_the_same_numbers(self, data_path, tmp_path):
        """The last step's target update is still due when a checkpoint is written."""
        whole = self.start(data_path, tmp_path / "whole", epochs=4, edge_dropout=0.2)
        whole.trainer().fit(whole.train_data, whole.valid_data, saved=False)
        half = self.start(data_path, tmp_path / "half", epochs=2, edge_dropout=0.2)
        trainer = half.trainer()
        trainer.eval_step = 0
        trainer.fit(half.train_data)
        rest = self.start(
            data_path, tmp_path / "rest", epochs=4, edge_dropout=0.2, resume_from=trainer.saved_model_file
        )
        rest.trainer().fit(rest.train_data, rest.valid_data, saved=False)
        for name, tensor in whole.model.state_dict().items():
            assert torch.equal(tensor, rest.model.state_dict()[name]), name

    def test_recboles_plain_trainer_moves_the_target(self, run):
        start = run.model.target_user_embedding.clone()
        trainer = Trainer(run.config, run.model)
        trainer.epochs = 1
        trainer.fit(run.train_data, saved=False)
        assert not torch.equal(run.model.target_user_embedding, start)


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    return write_example(tmp_path_factory.mktemp("example"))


@pytest.mark.parametrize("n_layers", [1, 3])
def test_loss_and_gradients(example, n_layers):
    run = start_example("BUIR", example, n_layers=n_layers)
    set_target(run.model)
    batch = training_batch(run)
    assert_same_loss_and_gradients(run, batch, lambda: dense_loss(run, batch))


@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.SGD])
@pytest.mark.parametrize("fused", [True, False])
def test_the_target_moves_once_after_each_step(example, optimizer, fused):
    """Against the update made where the paper has it, right after the optimiser step.

    A fused optimizer changes a tensor without a trace in its version counter.
    """
    run = start_example("BUIR", example, momentum=0.7)
    batch, model = training_batch(run), run.model
    steps = optimizer(model.parameters(), lr=0.1, fused=fused)
    expected = [model.user_embedding.detach().clone(), model.item_embedding.detach().clone()]
    for _ in range(3):
        for _ in range(2):  # looking at a loss moves nothing
            loss = model.calculate_loss(batch)
        targets = [model.target_user_embedding, model.target_item_embedding]
        torch.testing.assert_close(targets, expected, rtol=1e-12, atol=1e-12)
        steps.zero_grad()
        loss.backward()
        steps.step()
        online = (model.user_embedding.detach(), model.item_embedding.detach())
        expected = [0.7 * move + 0.3 * table for move, table in zip(expected, online, strict=True)]


def test_before_the_first_step_the_target_is_the_online_table(example):
    run = start_example("BUIR", example)
    run.model.calculate_loss(training_batch(run))
    assert torch.equal(run.model.target_user_embedding, run.model.user_embedding)
    assert torch.equal(run.model.target_item_embedding, run.model.item_embedding)


def test_a_copy_has_a_target_of_its_own(example):
    model = start_example("BUIR", example).model
    copied = copy.deepcopy(model)
    copied.target_user_embedding.add_(1.0)
    assert torch.equal(model.target_user_embedding, model.user_embedding)


def test_the_score_adds_both_directions_of_the_online_tables(example):
    run = start_example("BUIR", example, n_layers=2)
    set_target(run.model)
    users, items = dense_tables(run, run.model.user_embedding, run.model.item_embedding)
    predict = run.model.predictor
    expected = predict(users) @ items.T + users @ predict(items).T
    scores = run.model.eval().full_sort_predict({"user_id": torch.arange(13)}).view(13, 10)
    torch.testing.assert_close(scores[:, 1:], expected[:, 1:])


def test_edges_drop_in_training_only(example):
    run = start_example("BUIR", example, edge_dropout=0.9)
    plain = start_example("BUIR", example, edge_dropout=0.0)
    assert not torch.allclose(run.model.encode()[0], run.model.encode()[0])
    assert torch.equal(run.model.eval().encode()[0], plain.model.encode()[0])


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"n_layers": 0}, "n_layers: 0"),
        ({"momentum": 1.5}, "momentum: 1.5"),
        ({"edge_dropout": -0.1}, "edge_dropout: -0.1"),
        ({"edge_dropout": 1.2}, "edge_dropout: 1.2"),
    ],
)
def test_bad_settings(example, settings, message):
    with pytest.raises(ValueError, match=message):
        start_example("BUIR", example, **settings)


@pytest.fixture
def graph() -> BipartiteGraph:
    rng = np.random.default_rng(0)
    return BipartiteGraph(rng.integers(1, 20, 150), rng.integers(1, 15, 150), 20, 15)


def test_dropped_edges_are_gone_both_ways_and_the_others_rescaled(graph):
    full = graph.symmetric()
    torch.manual_seed(0)
    dense = EdgeDropout(graph, full, 0.8).sample().to_dense()
    assert torch.equal(dense, dense.T)
    kept = dense != 0
    assert 0 < kept.sum() < full.nnz
    scales = dense[kept] / full.to_dense()[kept]
    assert scales[0] > 1
    torch.testing.assert_close(scales, scales[:1].expand_as(scales))


def test_a_sample_is_the_full_graph_on_average(graph):
    full = graph.symmetric()
    torch.manual_seed(0)
    dropout = EdgeDropout(graph, full, 0.5)
    mean = torch.stack([dropout.sample().to_dense() for _ in range(2000)]).mean(0)
    # an entry's relative deviation is at most 1 in a sample, 0.022 in the mean of 2,000: five of these
    torch.testing.assert_close(mean, full.to_dense(), rtol=0.11, atol=0)


def test_no_dropout_is_the_graph_itself(graph):
    full = graph.symmetric()
    assert EdgeDropout(graph, full, 0.0).sample() is full


def set_target(model) -> None:
    """A target that differs from the online tables, and no update due."""
    model._move_target(torch.tensor([1]))
    generator = torch.Generator().manual_seed(5)
    for target in (model.target_user_embedding, model.target_item_embedding):
        target.add_(torch.randn(target.shape, generator=generator, dtype=target.dtype))


def dense_tables(run, users, items):
    graph = symmetric_graph(interactions(run))
    nodes = mean_of_layers(graph, torch.cat([users, items]), run.config["n_layers"])
    return nodes.split([run.model.n_users, run.model.n_items])


def dense_loss(run, batch):
    model = run.model
    online = dense_tables(run, model.user_embedding, model.item_embedding)
    target = dense_tables(run, model.target_user_embedding, model.target_item_embedding)

    def distance(rows, goal):
        predicted = rows @ model.predictor.weight.T + model.predictor.bias
        cosine = (predicted * goal).sum(1) / predicted.norm(dim=1) / goal.norm(dim=1)
        return (2 - 2 * cosine).mean()

    user, item = batch["user_id"], batch["item_id"]
    return distance(online[0][user], target[1][item]) + distance(online[1][item], target[0][user])
