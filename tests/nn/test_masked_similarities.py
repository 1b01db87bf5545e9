"""Products of masked similarities without the rows themselves, against these rows."""

from __future__ import annotations

import pytest
import torch

from recbole_mm.graph import SparseOperator
from recbole_mm.nn.masked_similarities import MaskedSimilarities, times
from tests.largest_tensor import LargestTensor

N_USERS, N_ITEMS, SIZE, WIDTH = 6, 400, 3, 4


def random(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).requires_grad_()


@pytest.fixture
def tables():
    return random(N_USERS, SIZE, seed=0), random(N_ITEMS, SIZE, seed=1), random(WIDTH, N_ITEMS, seed=2)


@pytest.fixture
def known():
    """The training items of six users: one has none, one has half of all."""
    dense = torch.zeros(N_USERS, N_ITEMS, dtype=torch.float64)
    for user, items in enumerate(([3, 9], [], [0], range(0, N_ITEMS, 2), [N_ITEMS - 1], [3, 4, 5])):
        dense[user, list(items)] = 1
    return dense


def product(users, items, known):
    rows = (users @ items.T) * (1 - known)
    return rows / rows.norm(dim=1, keepdim=True).clamp(min=1e-12)


def of_all_gradients(result, tables):
    weights = torch.arange(1.0, result.numel() + 1).view(result.shape).double().sin()
    return torch.autograd.grad((result * weights).sum(), tables)


def test_products_and_gradients(tables, known):
    users, items, weight = tables
    rows = MaskedSimilarities(users, items, SparseOperator.from_scipy(known.numpy()))
    expected = product(users, items, known)
    torch.testing.assert_close(rows.dense(), expected)
    torch.testing.assert_close(times([rows], weight), expected @ weight.T, rtol=1e-10, atol=1e-12)
    got, wanted = (of_all_gradients(result, tables) for result in (times([rows], weight), expected @ weight.T))
    for actual, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(actual, other, rtol=1e-9, atol=1e-11)


def test_two_parts_stand_one_below_the_other(tables, known):
    users, items, weight = tables
    training_items = SparseOperator.from_scipy(known.numpy())
    parts = [MaskedSimilarities(users, items, training_items), MaskedSimilarities(-users, items.cos(), training_items)]
    expected = torch.cat([product(users, items, known), product(-users, items.cos(), known)]) @ weight.T
    torch.testing.assert_close(times(parts, weight), expected, rtol=1e-10, atol=1e-12)
    got, wanted = (of_all_gradients(result, tables) for result in (times(parts, weight), expected))
    for actual, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(actual, other, rtol=1e-9, atol=1e-11)


def test_nothing_as_long_as_users_by_items_is_made(tables, known):
    users, items, weight = tables
    rows = MaskedSimilarities(users, items, SparseOperator.from_scipy(known.numpy()))
    with LargestTensor() as made:
        of_all_gradients(times([rows], weight), tables)
    assert made.numel < N_USERS * N_ITEMS


def test_a_user_whose_training_items_are_almost_all_of_the_row(known):
    """What is left of the row in float32 is as of the rows themselves, where a difference would be noise."""
    users, items, weight = (tensor.detach().clone() for tensor in (
        random(N_USERS, SIZE, seed=0), random(N_ITEMS, SIZE, seed=1), random(WIDTH, N_ITEMS, seed=2)))  # fmt: skip
    items[9:] *= 1e-5
    known[0, :9], known[2] = 1, 1
    expected = product(users, items, known) @ weight.T
    rows = MaskedSimilarities(users.float(), items.float(), SparseOperator.from_scipy(known.numpy()))
    torch.testing.assert_close(times([rows], weight.float()).double(), expected, rtol=1e-4, atol=1e-4)
    assert not expected[2].any()  # of a user who has all items


def test_users_without_a_vector(tables, known):
    users, items, weight = (tensor.detach().clone() for tensor in tables)
    users[1], users[4] = 0, 0
    users.requires_grad_()
    rows = MaskedSimilarities(users, items, SparseOperator.from_scipy(known.numpy()))
    result = times([rows], weight)
    torch.testing.assert_close(result, product(users, items, known) @ weight.T)
    assert not result[1].any() and torch.autograd.grad(result.sum(), users)[0].isfinite().all()
