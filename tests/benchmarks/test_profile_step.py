"""What the profile of a step counts: parts by name, bytes and operations by hand."""

from __future__ import annotations

import pytest
import torch
from profile_step import Operations, _part

F32 = 4  # bytes


def costs_of(function) -> Operations:
    with Operations() as operations:
        function()
    return operations.costs


@pytest.mark.parametrize(
    ("operation", "part"),
    [
        ("mm", "dense products"),
        ("addmm_", "dense products"),
        ("baddbmm", "dense products"),
        ("_embedding_bag_forward_only", "sparse products"),
        ("sparse_sampled_addmm", "sparse products"),
        ("_sparse_compressed_tensor_unsafe", "element-wise passes"),
        ("_fused_adam_", "optimizer"),
        ("index_select", "gathers"),
        ("index_copy_", "gathers"),
        ("mul", "element-wise passes"),
    ],
)
def test_part(operation, part):
    assert _part(operation) == part


def as_made_anew(pattern: torch.Tensor) -> torch.Tensor:
    parts = pattern.crow_indices(), pattern.col_indices(), pattern.values()
    return torch.sparse_csr_tensor(*parts, pattern.shape, check_invariants=False)


def test_dense_product_in_place():
    target, left, right = torch.zeros(3, 5), torch.ones(3, 7), torch.ones(7, 5)
    cost = costs_of(lambda: target.addmm_(left, right))["addmm_"]
    assert cost.operations == 2 * 3 * 5 * 7
    assert cost.moved == F32 * (2 * 3 * 5 + 3 * 7 + 7 * 5)


def test_rows_of_a_table():
    table, ids = torch.zeros(1000, 6), torch.tensor([1, 4])
    costs = costs_of(lambda: table.index_copy_(0, ids, table.index_select(0, ids)))
    assert costs["index_select"].moved == 2 * F32 * 2 * 6
    assert costs["index_copy_"].moved == 2 * (F32 * 2 * 6 + ids.nbytes)


def test_sparse_products():
    pattern = torch.eye(4).to_sparse_csr()
    left, right = torch.ones(4, 6), torch.ones(6, 4)
    costs = costs_of(lambda: torch.sparse.sampled_addmm(as_made_anew(pattern), left, right))
    assert costs["sparse_sampled_addmm"].operations == 2 * 4 * 6
    table, ids, offsets = torch.ones(9, 6), torch.tensor([1, 2, 2, 0]), torch.tensor([0, 3])
    costs = costs_of(lambda: torch.nn.functional.embedding_bag(ids, table, offsets, mode="sum"))
    assert sum(cost.operations for cost in costs.values()) == 2 * 4 * 6
