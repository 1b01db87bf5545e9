"""The principal part of a user-item graph by its largest and smaller singular values (PGL, AAAI 2025)."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import svds

from recbole_mm.graph.operator import SparseOperator

KINDS = ("product", "bands")


def principal_graph(
    block: SparseOperator,
    rank: int = 64,
    cut: float = 0.25,
    threshold: float = 1e-3,
    weights: str = "product",
    block_bytes: int = 64 << 20,
) -> SparseOperator:
    r"""A part of the spectrum of ``S = [[0, R], [R^T, 0]]``, ``[n_nodes, n_nodes]``, symmetric and sparse.

    With the ``rank`` largest singular triplets ``s_j, u_j, v_j`` of S in falling order and
    ``c = int(cut * rank)``, entries of smaller size than the threshold set to 0:

    - ``product``: ``\sum_{j < c} s_j s_{rank - c + j} u_j v_j^T``;
    - ``bands``: ``\sum s_j u_j v_j^T`` over the first c and the last c of them.

    The singular values of S are those of R, each twice, and a pair's sum of ``u v^T`` is ``[[0, a b^T], [b a^T, 0]]``
    by R's own vectors a and b. So ``rank / 2`` triplets of R suffice, which are exact to rounding. Where singular
    values of R are equal, as the 1 of each component of an unconnected graph is, their vectors are not unique, and
    neither is the product.

    Args:
        block: R, ``[n_users, n_items]``.
        rank: how many singular values of S, an even number.
        cut: share of them in a band; an even number.
        threshold: entries of smaller absolute value become 0.
        weights: ``product`` or ``bands``.
        block_bytes: about the memory to hold dense rows in.

    Raises:
        ValueError: an unknown kind, counts that are odd, more values than R has, or a threshold above all entries.
    """
    if weights not in KINDS:
        raise ValueError(f"svd_weights: '{weights}' is unknown; choose one of {', '.join(KINDS)}")
    band = _band(rank, cut)
    a, s, b = _largest_triplets(block.to_scipy(), rank // 2)
    scale = _scale(s, band, weights)
    used = np.flatnonzero(scale)
    return _mirrored(_sparse_product(a[:, used] * scale[used], b[used], threshold, block_bytes))


def _band(rank: int, cut: float) -> int:
    """How many singular values of R a band has; raises ValueError where S has no such pairs."""
    n_kept = int(cut * rank)
    if rank % 2 or n_kept % 2 or n_kept < 2:
        raise ValueError(
            f"svd_cut: {cut} of svd_rank {rank} is {n_kept} singular values; they come in pairs: give an even svd_rank "
            "and an svd_cut by which it is an even number of at least 2"
        )
    return n_kept // 2


def _scale(singular: np.ndarray, band: int, weights: str) -> np.ndarray:
    """What the vectors of each falling singular value of R are multiplied by, of which a band at either end counts."""
    first, last = singular[:band], singular[len(singular) - band :]
    scale = np.zeros(len(singular))
    if weights == "product":
        scale[:band] = first * last
    else:
        scale[:band], scale[len(singular) - band :] = first, last
    return scale


def _largest_triplets(matrix: sp.csr_matrix, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Left vectors ``[n_users, count]``, falling singular values and right vectors ``[count, n_items]``."""
    smaller = min(matrix.shape)
    if count >= smaller:
        raise ValueError(
            f"svd_rank: {2 * count} must be at most {2 * (smaller - 1)}, twice the smaller number of users and items"
        )
    if smaller <= 4 * count:  # Lanczos needs a good part of all vectors anyway
        a, s, b = np.linalg.svd(matrix.toarray(), full_matrices=False)
        return a[:, :count], s[:count], b[:count]
    start = np.random.default_rng(0).standard_normal(smaller)
    a, s, b = svds(matrix, count, v0=start)
    order = np.argsort(-s)
    return a[:, order], s[order], b[order]


def _sparse_product(left: np.ndarray, right: np.ndarray, threshold: float, block_bytes: int) -> sp.csr_matrix:
    """``left @ right`` without its entries below the threshold, by blocks of rows; ValueError if none is left."""
    n_rows = max(1, block_bytes // (8 * right.shape[1]))
    blocks, largest = [], 0.0
    for start in range(0, len(left), n_rows):
        dense = left[start : start + n_rows] @ right
        sizes = np.abs(dense)
        largest = max(largest, float(sizes.max(initial=0)))
        dense[sizes < threshold] = 0
        blocks.append(sp.csr_matrix(dense))
    if largest < threshold:
        raise ValueError(
            f"svd_threshold: {threshold:g} leaves nothing of the graph, whose largest entry is {largest:.3g}; give less"
        )
    return sp.vstack(blocks, format="csr")


def _mirrored(block: sp.csr_matrix) -> SparseOperator:
    """``[[0, block], [block^T, 0]]``."""
    return SparseOperator.from_scipy(sp.bmat([[None, block], [block.T, None]], format="csr"), symmetric=True)
