"""Row-wise computations at the distinct rows of a batch."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from recbole_mm.nn.distinct import at_distinct, at_distinct_of_kinds, distinct_rows

TABLE = torch.tensor([[0.0, 0.0], [1.0, 2.0], [3.0, -1.0], [5.0, 4.0]], dtype=torch.float64)
FIRST, SECOND = torch.tensor([3, 1, 3]), torch.tensor([1, 2])


def test_equals_the_computation_at_every_row():
    first, second = at_distinct(lambda ids: TABLE[ids] ** 2, FIRST, SECOND)
    assert torch.equal(first, TABLE[FIRST] ** 2)
    assert torch.equal(second, TABLE[SECOND] ** 2)


def test_computes_each_distinct_row_once():
    seen = []
    at_distinct(lambda ids: seen.append(ids) or TABLE[ids], FIRST, SECOND)
    assert [ids.tolist() for ids in seen] == [[1, 2, 3]]


def test_a_row_draws_at_random_once():
    torch.manual_seed(0)
    first, second = at_distinct(lambda ids: torch.rand(len(ids), 4), FIRST, SECOND)
    assert torch.equal(first[0], first[2])
    assert torch.equal(first[1], second[0])
    assert not torch.equal(first[0], first[1])


def test_gradients_of_repeated_rows_add_up():
    table = TABLE.clone().requires_grad_()
    first, second = at_distinct(lambda ids: F.embedding(ids, table), FIRST, SECOND)
    (first.sum() + 10 * second.sum()).backward()
    assert torch.equal(table.grad[:, 0], torch.tensor([0.0, 11.0, 10.0, 2.0], dtype=torch.float64))


def test_distinct_rows_and_their_counts():
    ids = torch.tensor([3, 1, 3, 2, 3])
    table = TABLE.clone().requires_grad_()
    rows, counts = distinct_rows(F.embedding(ids, table), ids)
    assert torch.equal(rows, TABLE[[1, 2, 3]])
    assert counts.tolist() == [1, 1, 3]
    (rows.sum(dim=1) * counts).sum().backward()
    assert torch.equal(table.grad[:, 0], torch.tensor([0.0, 1.0, 1.0, 3.0], dtype=torch.float64))


def test_rows_of_several_kinds_are_computed_once_each_and_come_back_in_order():
    kinds = torch.tensor([[2, 0], [2, 2], [0, 2]])
    ids = torch.tensor([[5, 5], [3, 5], [5, 4]])
    asked = []

    def compute(kind: int, rows: torch.Tensor) -> torch.Tensor:
        asked.append((kind, rows.tolist()))
        return torch.stack([10.0 * kind + rows, -rows.float()], dim=1)

    found = at_distinct_of_kinds(compute, kinds, ids, 4)
    assert found.tolist() == [[25, -5], [5, -5], [23, -3], [25, -5], [5, -5], [24, -4]]
    assert asked == [(0, [5]), (2, [3, 4, 5])]
