"""Graphs that join nothing: a model trains on them without an error, as if it had no such part."""

from __future__ import annotations

import logging
from functools import cache

import numpy as np

from recbole_mm.graph.operator import SparseOperator


def joins_nothing(graph: SparseOperator) -> bool:
    """Whether a graph has no edge; an entry that joins a node of a square one with itself is none."""
    if graph.shape[0] != graph.shape[1] or not graph.nnz:
        return not graph.nnz
    matrix = graph.to_scipy()
    return bool((np.repeat(np.arange(graph.shape[0]), np.diff(matrix.indptr)) == matrix.indices).all())


def tell_of_no_edges(is_empty: bool, graph: str, remedy: str) -> None:
    """Warn, once in a process, of a graph that has none.

    Args:
        is_empty: whether that is so.
        graph: what it is called, and why it has none where that is known.
        remedy: what gives it some.
    """
    if is_empty:
        _tell(f"{graph} has no edges, so that this part of the model does nothing; {remedy}")


@cache
def _tell(message: str) -> None:
    logging.getLogger(__name__).warning("%s", message)
