"""Optimizers that torch.compile knows nothing of do what torch's own do."""

from __future__ import annotations

import sys

import pytest
import torch
from recbole.trainer import trainer
from torch import nn, optim

from recbole_mm.host.eager_optimizers import eager

KINDS = (optim.Adam, optim.AdamW, optim.SGD, optim.Adagrad)


def trained(kind, steps: int, state: dict | None = None) -> tuple[list[torch.Tensor], dict]:
    """Weights and the optimizer's state after some steps, with a schedule, of two groups with rates of their own."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 1))
    optimizer = kind([{"params": model[0].parameters()}], lr=0.1, weight_decay=0.01, fused=True)
    optimizer.add_param_group({"params": model[1].parameters(), "lr": 0.05})
    schedule = optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 0.9**epoch)
    if state is not None:
        optimizer.load_state_dict(state)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.ones(2, 3)).square().sum().backward()
        optimizer.step()
        schedule.step()
    return [tensor.detach().clone() for tensor in model.parameters()], optimizer.state_dict()


@pytest.mark.parametrize("kind", KINDS)
def test_steps_and_state_are_torchs(kind):
    (weights, state), (expected, expected_state) = trained(eager(kind), 3), trained(kind, 3)
    assert all(torch.equal(weight, other) for weight, other in zip(weights, expected, strict=True))
    assert state["param_groups"] == expected_state["param_groups"]
    for again in (eager(kind), kind):  # each goes on from the other's state
        assert all(map(torch.equal, trained(again, 2, state)[0], trained(kind, 2, expected_state)[0]))


@pytest.mark.parametrize("kind", KINDS)
def test_torch_dynamo_is_not_imported(kind, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch._dynamo", None)  # as where it is not installed
    trained(eager(kind), 1)
    with pytest.raises(ImportError):
        trained(kind, 1)


@pytest.mark.parametrize("kind", (optim.RMSprop, optim.SparseAdam))
def test_those_that_only_recboles_trainers_make(kind):
    ends = []
    for optimizer_class in (kind, eager(kind)):
        torch.manual_seed(0)
        table = nn.Embedding(4, 3, sparse=kind is optim.SparseAdam)
        optimizer = optimizer_class(table.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            table(torch.tensor([1, 2, 1])).square().sum().backward()
            optimizer.step()
        ends.append(table.weight.detach())
    assert torch.equal(*ends)


def test_recboles_trainers_make_them():
    kind = trainer.optim.Adam
    assert issubclass(kind, optim.Adam) and kind is not optim.Adam and kind is trainer.optim.Adam
    assert trainer.optim.lr_scheduler is optim.lr_scheduler


def test_it_is_called_as_torchs():
    assert [eager(kind).__name__ for kind in KINDS] == ["Adam", "AdamW", "SGD", "Adagrad"]
    assert issubclass(eager(optim.Adam), optim.Adam)
