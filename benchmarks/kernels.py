"""Kernels that a training step cannot avoid, each at its best: what :mod:`model_kernels` describes models
with.

A kernel works on tensors of its own, of the right shapes, and writes into tensors that exist where torch
lets it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from recbole_mm.graph import SparseOperator

CONTRAST_BLOCK = 2048


@dataclass(frozen=True)
class Kernel:
    """One kernel and how often a step needs it; of several ways to compute it the fastest counts."""

    part: str
    ways: tuple[Callable[[], object], ...]
    times: int = 1


def sparse_products(operator: SparseOperator, width: int, times: int = 1) -> list[Kernel]:
    """Products of a graph ``[n, m]`` with ``[m, width]``, and as many of its transpose for the gradient."""
    if operator.symmetric:
        return [sparse_product(operator, width, 2 * times)]
    return [sparse_product(orientation, width, times) for orientation in (operator, operator.transpose())]


def sparse_product(operator: SparseOperator, width: int, times: int = 1) -> Kernel:
    """Products of a graph ``[n, m]`` with ``[m, width]`` without a gradient."""
    matrix = operator.to_scipy()
    starts, columns = torch.from_numpy(matrix.indptr), torch.from_numpy(matrix.indices)
    values = torch.from_numpy(matrix.data).float()
    csr = torch.sparse_csr_tensor(starts, columns, values, operator.shape)
    x, out = torch.rand(operator.shape[1], width), torch.empty(operator.shape[0], width)

    def bag():
        return F.embedding_bag(
            columns, x, starts, mode="sum", per_sample_weights=values, include_last_offset=True
        )

    return Kernel("sparse products", (bag, lambda: torch.addmm(out, csr, x, beta=0, out=out)), times)


def sparse_products_of_rows(operator: SparseOperator, width: int, rows: Tensor) -> list[Kernel]:
    """As :func:`sparse_products`, of the rows that a batch needs only; to pick them out is not counted."""
    picked = operator.to_scipy()[rows.unique().numpy()]
    return sparse_products(SparseOperator.from_scipy(picked), width)


def dense_products(
    rows: Tensor | int, width_in: int, width_out: int, *, trains_inputs: bool = True, times: int = 1
) -> list[Kernel]:
    """``x [n, width_in] @ weight``, the weight's gradient and, unless x is a constant, that of x.

    Args:
        rows: x itself, or n.
    """
    x = torch.rand(rows, width_in) if isinstance(rows, int) else rows.detach()
    weight, grad_weight = torch.rand(width_out, width_in), torch.empty(width_out, width_in)
    y = torch.rand(len(x), width_out)
    ways = [
        (lambda: torch.mm(x, weight.T, out=y),),
        (lambda: torch.mm(y.T, x, out=grad_weight), lambda: x.T @ y),
    ]
    if trains_inputs:
        grad_x = torch.empty_like(x)
        ways.append((lambda: torch.mm(y, weight, out=grad_x),))
    return [Kernel("dense products", way, times) for way in ways]


def projection(feature: Tensor, width: int, n_rows: int | None = None) -> list[Kernel]:
    """Features ``[n_items, k]`` to ``[n, width]``: of all items, or of a batch's n, gathered first."""
    trains = feature.requires_grad
    if n_rows is None:
        return dense_products(feature, feature.shape[1], width, trains_inputs=trains)
    table, rows = feature.detach(), torch.empty(n_rows, feature.shape[1])
    ids = torch.randperm(len(table))[:n_rows]
    ways = [(lambda: torch.index_select(table, 0, ids, out=rows),)]
    if trains:
        gradient = torch.zeros_like(table)
        ways.append((lambda: gradient.index_add_(0, ids, rows),))
    return [
        *(Kernel("gathers", way) for way in ways),
        *dense_products(rows, feature.shape[1], width, trains_inputs=trains),
    ]


def contrast(n_anchors: int, n_candidates: int, width: int) -> list[Kernel]:
    """All dot products of ``[n_anchors, width]`` and ``[n_candidates, width]``, and both gradients."""
    n_blocks = -(-n_anchors // CONTRAST_BLOCK)
    return dense_products(-(-n_anchors // n_blocks), width, n_candidates, times=n_blocks)


def similarities(n_rows: int, width: int) -> Kernel:
    """All dot products of ``[n_rows, width]`` with itself, without a gradient; to choose among them is not counted."""
    x, n_blocks = torch.rand(n_rows, width), -(-n_rows // CONTRAST_BLOCK)
    block = x[: -(-n_rows // n_blocks)]
    out = torch.empty(len(block), n_rows)
    return Kernel("dense products", (lambda: torch.mm(block, x.T, out=out),), n_blocks)


def gather(ids: Tensor, n_rows: int, width: int) -> list[Kernel]:
    """Rows ``[len(ids), width]`` of a table ``[n_rows, width]``, and the sum of their gradients into it."""
    table, taken = torch.rand(n_rows, width), torch.empty(len(ids), width)
    ways = (lambda: torch.index_select(table, 0, ids, out=taken), lambda: table.index_add_(0, ids, taken))
    return [Kernel("gathers", (way,)) for way in ways]


def optimizer_step(parameters: list[Tensor]) -> list[Kernel]:
    """One fused Adam step over parameters of these shapes."""
    parameters = [torch.zeros_like(weight).requires_grad_() for weight in parameters]
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    return [Kernel("optimizer", (torch.optim.Adam(parameters, fused=True).step,))]
