"""Training against a critic: the steps that MMSSL's trainer takes, taken again by hand."""

from __future__ import annotations

import pytest
import torch

from tests.reference import start_example, write_example

SETTINGS = {
    "train_batch_size": 6, "epochs": 2, "eval_step": 0, "n_heads": 2, "refreshed_share": 0.25,
    "adversarial_weight": 0.1, "critic_learning_rate": 0.01,
}  # fmt: skip


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    return write_example(tmp_path_factory.mktemp("example"))


def watched(model, name, seen):
    """Have each call of a method leave what it is called with, and the state of the draws before it."""
    method = getattr(model, name)

    def call(*arguments):
        seen.append((name, arguments, torch.get_rng_state()))
        return method(*arguments)

    setattr(model, name, call)


@pytest.mark.parametrize("refresh", ["code", "epoch"])
def test_each_step_is_of_the_critic_then_of_the_model_and_then_of_its_graphs(example, refresh):
    run, by_hand = (start_example("MMSSL", example, **SETTINGS, graph_refresh=refresh) for _ in range(2))
    model, seen = run.model, []
    for name in ("before_epoch", "critic_step", "calculate_loss", "after_step", "after_epoch"):
        watched(model, name, seen)
    run.trainer().fit(run.train_data, None, saved=False, show_progress=False)

    n_steps = model.graph.n_edges // 6 + 1
    assert n_steps > 3
    epoch = ["before_epoch", *["critic_step", "calculate_loss", "after_step"] * n_steps, "after_epoch"]
    assert [name for name, *_ in seen] == 2 * epoch

    model = by_hand.model
    assert model.own_optimizers["critic"].defaults["betas"] == (0.5, 0.9)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=0.00055, weight_decay=0.01)
    for name, arguments, state in seen:
        torch.set_rng_state(state)
        if name == "calculate_loss":
            optimizer.zero_grad()
            model.calculate_loss(*arguments).backward()
            optimizer.step()
        else:
            getattr(model, name)(*arguments)
    for name, parameter in run.model.named_parameters():
        torch.testing.assert_close(parameter, model.get_parameter(name), rtol=1e-10, atol=1e-12)
    for name, edges in model.modality_edges.items():
        assert torch.equal(edges, run.model.modality_edges[name])


def test_batches_are_the_models_own(example):
    """Six different users each, where RecBole's loader would have interactions."""
    run = start_example("MMSSL", example, **SETTINGS)
    seen = []
    watched(run.model, "calculate_loss", seen)
    run.trainer().fit(run.train_data, None, saved=False, show_progress=False)
    of_users = [arguments[0]["user_id"].tolist() for _, arguments, _ in seen]
    assert all(len(users) == len(set(users)) == 6 for users in of_users)
    half = len(of_users) // 2
    assert of_users[:half] != of_users[half:]
