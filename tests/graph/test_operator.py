from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from recbole_mm.graph import SparseOperator

DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")),
]


@pytest.fixture
def dense() -> torch.Tensor:
    """A random 5 x 4 matrix, about half zeros, with an empty row and an empty column."""
    generator = torch.Generator().manual_seed(3)
    matrix = torch.randn(5, 4, generator=generator, dtype=torch.float64)
    matrix[torch.rand(5, 4, generator=generator) < 0.4] = 0
    matrix[2], matrix[:, 1] = 0, 0
    return matrix


@pytest.fixture
def operator(dense: torch.Tensor) -> SparseOperator:
    return SparseOperator.from_scipy(sp.coo_matrix(dense.numpy()))


def rows_of(n: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_product_equals_dense_product(operator, dense, dtype, device):
    x = rows_of(4, 7)
    product = operator @ x.to(device, dtype)
    assert product.dtype == dtype and product.device.type == device
    # Sums of at most 4 terms of size about 1: float32 rounds each to 6e-8 relative.
    tolerance = 1e-6 if dtype == torch.float32 else 1e-14
    torch.testing.assert_close(product.cpu().double(), dense @ x, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("device", DEVICES)
def test_gradient_is_the_transposed_product(operator, dense, device):
    x = rows_of(4, 3).to(device).requires_grad_()
    weights = rows_of(5, 3, seed=1).to(device)
    ((operator @ x) * weights).sum().backward()
    torch.testing.assert_close(x.grad, dense.T.to(device) @ weights)


def test_gradcheck_to_second_order(operator):
    x = rows_of(4, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: operator @ x, x)
    assert torch.autograd.gradgradcheck(lambda x: (operator @ x).square(), x)


def test_symmetric_operator_is_its_own_transpose(dense):
    symmetric = dense @ dense.T
    operator = SparseOperator.from_scipy(sp.csr_matrix(symmetric.numpy()), symmetric=True)
    assert operator.transpose() is operator
    x = rows_of(5, 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: operator @ x, x)


def test_rows_in_any_memory_layout_and_expanded_gradients(operator, dense):
    x = rows_of(3, 4).T.requires_grad_()
    (operator @ x).sum().backward()
    torch.testing.assert_close(operator @ x, dense @ x)
    torch.testing.assert_close(x.grad, dense.sum(0)[:, None].expand(4, 3))


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor], ids=["numpy", "torch"])
def test_from_coo_sums_entries_given_twice(kind):
    operator = SparseOperator.from_coo(kind([0, 1, 0]), kind([2, 0, 2]), kind([1.0, 3.0, 0.5]), (2, 3))
    assert operator.to_dense().tolist() == [[0, 0, 1.5], [3, 0, 0]]
    assert operator.nnz == 2 and operator.shape == (2, 3)


def test_from_scipy_leaves_its_argument_alone():
    matrix = sp.coo_matrix(([1.0, 1.0], ([0, 0], [1, 1])), shape=(2, 2)).tocsr(copy=True)
    operator = SparseOperator.from_scipy(matrix)
    matrix.data[:] = 9
    assert operator.to_dense().tolist() == [[0, 2], [0, 0]]


def test_transpose_and_row_sums(operator, dense):
    assert torch.equal(operator.transpose().to_dense(), dense.T)
    torch.testing.assert_close(operator.row_sums(), dense.sum(1))
    assert operator.transpose() is operator.transpose()


def test_operator_without_entries_gives_zeros():
    operator = SparseOperator.from_coo([], [], [], (3, 2))
    x = torch.ones(2, 4, requires_grad=True)
    product = operator @ x
    product.sum().backward()
    assert torch.equal(product, torch.zeros(3, 4)) and torch.equal(x.grad, torch.zeros(2, 4))


def test_deep_copies_share_the_operator(operator):
    holder = {"graph": operator, "cache": operator @ rows_of(4, 2)}
    assert copy.deepcopy(holder)["graph"] is operator
    assert copy.copy(operator).to_dense().equal(operator.to_dense())


def test_pickle_carries_the_matrix_alone(operator, dense):
    before = len(pickle.dumps(operator))
    operator @ rows_of(4, 2)
    operator.transpose()
    assert len(pickle.dumps(operator)) == before
    restored = pickle.loads(pickle.dumps(operator))
    assert torch.equal(restored.to_dense(), dense) and restored.symmetric is False


@pytest.mark.parametrize(
    "x", [torch.ones(5, 2), torch.ones(4), torch.ones(1, 4, 2), torch.ones(4, 2, dtype=torch.long)]
)
def test_operand_of_wrong_shape_or_type_is_refused(operator, x):
    with pytest.raises(ValueError, match=r"shape \(5, 4\) multiplies floating tensors of shape \[4, width\]"):
        operator @ x


def test_product_rows(operator, dense):
    x, rows = rows_of(4, 3).requires_grad_(), torch.tensor([3, 0, 3, 2])
    torch.testing.assert_close(operator.product_rows(x, rows), (dense @ x)[rows])
    assert torch.autograd.gradcheck(lambda x: operator.product_rows(x, rows), x)
    assert operator.product_rows(x, rows[:0]).shape == (0, 3)


def test_false_claim_of_symmetry_is_refused(dense):
    with pytest.raises(ValueError, match="declared symmetric"):
        SparseOperator.from_scipy(sp.csr_matrix(dense.numpy()), symmetric=True)
    with pytest.raises(ValueError, match="declared symmetric"):
        SparseOperator.from_coo([0], [1], [1.0], (2, 2), symmetric=True)


def test_index_outside_the_shape_is_refused():
    with pytest.raises(ValueError):
        SparseOperator.from_coo([0, 3], [0, 0], [1.0, 1.0], (3, 2))
    with pytest.raises(ValueError, match="32-bit"):
        SparseOperator([0], [], [], (0, 2**31))


@pytest.mark.parametrize(
    ("indptr", "indices", "n_values"),
    [
        ([0, 1, 2], [0, 2], 2),  # a column behind the last one
        ([0, 1, 2], [0, -1], 2),
        ([0, 1, 3], [0, 1], 2),  # a row that goes on behind the last entry
        ([0, 2, 1], [0, 1], 2),
        ([1, 1, 2], [0, 1], 2),
        ([0, 2], [0, 1], 2),  # too few rows
        ([0, 1, 2], [0, 1], 3),
        ([0, 0, 1], [0, 1], 2),
    ],
)
def test_entries_outside_the_shape_are_refused(indptr, indices, n_values):
    """As of a graph's file that somebody changed: a product would read memory that is not the matrix's."""
    with pytest.raises(ValueError, match=r"shape \(2, 2\) has entries outside it"):
        SparseOperator(np.array(indptr), np.array(indices), np.ones(n_values), (2, 2))


def test_a_matrix_without_entries_is_within():
    assert not (SparseOperator(np.zeros(3), np.zeros(0), np.zeros(0), (2, 2)) @ torch.ones(2, 1)).any()
