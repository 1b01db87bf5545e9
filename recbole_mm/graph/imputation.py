"""Weights by which items without features take them from items used together with them (Malitesta et al., 2024).

All are built from ``N``, a binary graph: of each item the k items, itself among them, that most users have together
with it; fewer where fewer are used with it at all, where the paper's code takes any.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import numpy as np
import scipy.sparse as sp
import torch

from recbole_mm.graph.bipartite import BipartiteGraph
from recbole_mm.graph.consistent import used_together
from recbole_mm.graph.item_graph import largest_per_row
from recbole_mm.graph.operator import SparseOperator

Imputer = Literal["neighbor_mean", "multi_hop", "pagerank", "heat"]
IMPUTERS: tuple[str, ...] = get_args(Imputer)
RESTART, TIME = 0.1, 5.0  # of PageRank and of the heat kernel
_REMAINDER = 1e-6  # of a series' sum, which is 1, that is left out


def imputing_weights(graph: BipartiteGraph, kind: Imputer, k: int, *, block_bytes: int = 64 << 20) -> SparseOperator:
    r"""What an item takes of each other's features in a step, ``[n_items, n_items]``.

    - ``neighbor_mean``: N without its diagonal.
    - ``multi_hop``: ``H = D^-1/2 N D^-1/2`` of N without its diagonal, D the row sums (feature propagation).
    - ``pagerank``: ``a (I - (1 - a) H)^-1`` with ``H = D^-1/2 (N + I) D^-1/2`` and a = 0.1, of which each column keeps
      its k largest entries, divided by their sum; of equal entries those of smaller ids.
    - ``heat``: the same of ``exp(-t (I - H))`` with t = 5.

    The last two are summed as series ``\sum_l c_l H^l``, whose coefficients' sum is 1, up to a remainder of 1e-6.

    Args:
        graph: the training interactions.
        kind: of :data:`IMPUTERS`.
        k: entries per row of N, and per column of the last two.
        block_bytes: about the memory to work in.
    """
    rows, columns = used_together(graph, k, smallest=1, itself=True)
    n_items, is_series = graph.n_items, kind in ("pagerank", "heat")
    kept = is_series | (rows != columns)
    adjacency = sp.csr_matrix((np.ones(kept.sum()), (rows[kept], columns[kept])), shape=(n_items, n_items))
    if not is_series:
        return SparseOperator.from_scipy(adjacency if kind == "neighbor_mean" else _normalised(adjacency))
    itself = sp.diags(np.append(0.0, np.ones(n_items - 1)))
    transition = SparseOperator.from_scipy(_normalised(adjacency + itself))
    return _largest_per_column(transition, _coefficients(kind), min(k, n_items - 1), block_bytes)


def _normalised(adjacency: sp.csr_matrix) -> sp.csr_matrix:
    sums = np.asarray(adjacency.sum(axis=1)).ravel()
    inverse_roots = sp.diags(np.where(sums > 0, 1 / np.sqrt(np.maximum(sums, 1)), 0))
    return inverse_roots @ adjacency @ inverse_roots


def _coefficients(kind: Imputer) -> list[float]:
    found: list[float] = []
    while sum(found) < 1 - _REMAINDER:
        power = len(found)
        is_heat = kind == "heat"
        found.append(
            math.exp(-TIME) * TIME**power / math.factorial(power) if is_heat else RESTART * (1 - RESTART) ** power
        )
    return found


def _largest_per_column(
    transition: SparseOperator, coefficients: list[float], k: int, block_bytes: int
) -> SparseOperator:
    """The k largest entries of each column of ``sum_l c_l H^l``, over their sum."""
    n_items, parts = transition.shape[0], []
    for items in torch.arange(1, n_items).split(max(1, block_bytes // (32 * n_items))):
        power = torch.zeros(n_items, len(items), dtype=torch.float64)
        power[items, torch.arange(len(items))] = 1
        total = coefficients[0] * power
        for coefficient in coefficients[1:]:
            power = transition @ power
            total.add_(power, alpha=coefficient)
        chosen, values = largest_per_row(total.T.contiguous(), k)
        values /= values.sum(dim=1, keepdim=True)
        there = values > 0
        parts.append((chosen[there], items.unsqueeze(1).expand_as(chosen)[there], values[there]))
    rows, columns, values = (torch.cat(entries) for entries in zip(*parts, strict=True))
    return SparseOperator.from_coo(rows, columns, values, transition.shape)
