"""Kernels that half precision lacks compute in float32 where autocast hands them bfloat16."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from recbole_mm.graph import SparseOperator, knn_neighbors
from recbole_mm.nn.edge_attention import EdgeSet, attend, edge_dot
from recbole_mm.nn.learned_graph import similar_items
from recbole_mm.nn.precision import full_precision
from recbole_mm.nn.segments import segment_softmax


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_becomes_single(dtype):
    assert full_precision(torch.ones(2, dtype=dtype)).dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_other_precision_stays(dtype):
    tensor = torch.ones(2, dtype=dtype)
    assert full_precision(tensor) is tensor


def test_neighbours_under_autocast_are_those_without():
    features = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
    expected = knn_neighbors(features, 5)
    with torch.autocast("cpu", torch.bfloat16):
        found = knn_neighbors(features, 5)
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))


def test_gradients_reach_half_precision():
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(8, 4, generator=generator).bfloat16().requires_grad_()
    _, cosines = similar_items(rows, 3)
    edges = EdgeSet(SparseOperator.from_scipy(sp.csr_matrix(np.ones((3, 8)))))
    summed, _ = attend(edges, edge_dot(edges, rows[:3], rows.float()), rows)
    lengths = torch.tensor([3, 5])
    softmax = segment_softmax(rows[:, 0], torch.repeat_interleave(lengths), lengths)
    (cosines.sum() + summed.sum() + softmax.square().sum()).backward()
    assert rows.grad.dtype == torch.bfloat16
    assert torch.isfinite(rows.grad).all() and rows.grad.any()
