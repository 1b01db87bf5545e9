"""The knowledge transfer against numpy, its gradients, and where none flows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recbole_mm.nn.knowledge_transfer import knowledge_transfer_loss


def tensors(count: int, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shape = (5, 3)
    return [torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_() for _ in range(count)]


def softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores)
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_equals_the_formula(direction):
    users, items, *modalities = tensors(4)
    u, i, *xs = (tensor.detach().numpy() for tensor in (users, items, *modalities))
    target = softmax(u @ i.T)
    expected = 0.0
    for x in xs:
        preferences = softmax(u @ x.T)
        p, q = (target, preferences) if direction == "forward" else (preferences, target)
        expected += (p * np.log(p / q)).sum() / 5
    loss = knowledge_transfer_loss(users, items, modalities, direction=direction)
    assert loss.item() == pytest.approx(expected, rel=1e-12)


def test_other_users_of_the_target_a_temperature_and_groups():
    """Pairs 0 to 2 and 3 to 4, each against their own; a mean over the five."""
    users, items, target_users, modality = tensors(4)
    u, i, t, x = (tensor.detach().numpy() / 2**0.5 for tensor in (users, items, target_users, modality))
    expected = 0.0
    for rows in (slice(0, 3), slice(3, 5)):
        target, preferences = softmax(t[rows] @ i[rows].T), softmax(u[rows] @ x[rows].T)
        expected += (target * np.log(target / preferences)).sum() / 5
    loss = knowledge_transfer_loss(users, items, [modality], target_users=target_users, temperature=2.0, group=3)
    assert loss.item() == pytest.approx(expected, rel=1e-12)


def test_is_zero_where_a_modality_knows_what_behaviour_knows():
    users, items = tensors(2)
    assert knowledge_transfer_loss(users, items, [items.detach()]).item() == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_gradients_to_the_modalities(direction):
    users, items, *modalities = tensors(4)

    def loss(*vectors):
        return knowledge_transfer_loss(users.detach(), items.detach(), vectors, direction=direction)

    assert torch.autograd.gradcheck(loss, modalities)


def test_gradients_to_the_users_pass_by_the_target():
    """The target is a constant: numerical differences of the users inside Q alone."""
    users, items, modality = tensors(3)
    target = torch.softmax(users @ items.T, dim=1).detach()

    def by_hand(u):
        return (target * (target.log() - torch.log_softmax(u @ modality.detach().T, dim=1))).sum() / 5

    assert torch.autograd.gradcheck(by_hand, users)
    (expected,) = torch.autograd.grad(by_hand(users), users)
    (found,) = torch.autograd.grad(knowledge_transfer_loss(users, items, [modality.detach()]), users)
    torch.testing.assert_close(found, expected)


def test_what_gets_no_gradient():
    users, items, modality = tensors(3)
    knowledge_transfer_loss(users, items, [modality], stop_users=True).backward()
    assert items.grad is None and users.grad is None
    assert modality.grad.any()


def test_unknown_direction():
    with pytest.raises(ValueError, match="transfer_direction: 'both' must be forward or reverse"):
        knowledge_transfer_loss(*tensors(2), [], direction="both")
