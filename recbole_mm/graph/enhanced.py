"""A user-item graph with edges between items that every modality finds alike (GUME, CIKM 2024)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np
import scipy.sparse as sp

from recbole_mm.graph.bipartite import BipartiteGraph
from recbole_mm.graph.operator import SparseOperator


def agreeing_neighbors(graphs: Sequence[SparseOperator], symmetric: bool = False) -> SparseOperator:
    """P, 1 from each item to the others that are among its neighbours in all of the graphs; ``[n_items, n_items]``.

    Args:
        graphs: kNN graphs, of which the edges count and not their values.
        symmetric: mirror the edges.
    """
    agreed = reduce(lambda left, other: left.multiply(other).tocsr(), map(_edges, graphs))
    agreed = (agreed - sp.diags(agreed.diagonal())).tocsr()
    if symmetric:
        agreed = agreed.maximum(agreed.T).tocsr()
    agreed.eliminate_zeros()
    return SparseOperator.from_scipy(agreed)


def enhanced_graph(graph: BipartiteGraph, item_edges: SparseOperator) -> SparseOperator:
    """``[[0, A], [A^T, P]]`` over the roots of its row sums on both sides, ``[n_nodes, n_nodes]``.

    The sums are of rows for the columns' factor too, though P may be directed. A node whose row is empty sends and
    receives nothing. Without item edges it is the user-item graph's :meth:`~BipartiteGraph.symmetric`, nothing added
    to a degree.

    Args:
        graph: the interactions A.
        item_edges: P, ``[n_items, n_items]``.
    """
    interactions = graph.raw_block().to_scipy()
    whole = sp.bmat([[None, interactions], [interactions.T, item_edges.to_scipy()]], format="csr")
    sums = np.asarray(whole.sum(axis=1)).ravel()
    roots = np.divide(1.0, np.sqrt(sums), out=np.zeros_like(sums), where=sums > 0)
    scale = sp.diags(roots)
    return SparseOperator.from_scipy(scale @ whole @ scale)


def _edges(graph: SparseOperator) -> sp.csr_matrix:
    """1 where the graph has an entry, whatever its value."""
    matrix = graph.to_scipy()
    return sp.csr_matrix((np.ones(matrix.nnz), matrix.indices, matrix.indptr), matrix.shape)
