"""Item-item graphs: nearest neighbours by the cosine of modality features, weighted and combined.

Row 0 of every table is [PAD]: it has no neighbours and is nobody's neighbour.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from recbole_mm.graph.operator import SparseOperator

WEIGHTINGS = ("binary", "similarity", "inverse_sqrt_k")


@torch.no_grad()
def knn_neighbors(
    features: torch.Tensor, k: int, *, block_bytes: int = 64 << 20
) -> tuple[torch.Tensor, torch.Tensor]:
    """The k items of largest cosine to each item, itself included and first; exact.

    Of equal similarities the smaller item id is taken. An item whose features are all zero has no direction:
    it is its own only neighbour, and no other item's.

    Args:
        features: ``[n_items, width]``, any floating type (half precision is computed in float32); row 0 is
            ignored.
        k: neighbours per item, at most ``n_items - 1``.
        block_bytes: about the memory to work in, beside the features and the result.

    Returns:
        item ids ``[n_items, k]`` int64 and cosines ``[n_items, k]`` in ``[-1, 1]``, most similar first. Where
        an item has fewer than k neighbours, and in row 0, the id is 0 and the cosine 0.

    Raises:
        ValueError: k out of range, features that are no matrix or not finite.
    """
    _check(features, k)
    features, inverse_norms = with_inverse_norms(features if features.dtype == torch.float64 else features.float())
    n_items, width = features.shape
    row_bytes = 2 * features.element_size() * (n_items + width)  # features, cosines and as much work space
    block_rows = max(1, block_bytes // row_bytes)
    neighbors = torch.zeros(n_items, k, dtype=torch.long, device=features.device)
    cosines = torch.zeros(n_items, k, dtype=features.dtype, device=features.device)
    for start in range(1, n_items, block_rows):
        block = torch.arange(start, min(start + block_rows, n_items), device=features.device)
        with torch.autocast(features.device.type, enabled=False):  # three digits tell no neighbours apart
            neighbors[block], cosines[block] = _block_neighbors(features, inverse_norms, block, k)
    return neighbors, cosines


def knn_graph(
    features: torch.Tensor, k: int, weighting: str, *, block_bytes: int = 64 << 20
) -> SparseOperator:
    """The operator over each item's k nearest items, ``[n_items, n_items]``; in general not symmetric.

    With ``r`` the row sums of the kept entries, the value of a kept pair (i, j) is by ``weighting``:

    - ``binary``: ``1 / sqrt(r_i r_j)`` over entries of 1, so ``1 / k``: the mean over the neighbours
      (FREEDOM, Zhou and Shen 2023).
    - ``similarity``: ``s_ij / sqrt(r_i r_j)`` over the cosines ``s_ij``; a row whose sum is not positive
      counts as ``1 / sqrt(r) = 0`` (LATTICE, Zhang et al. 2021).
    - ``inverse_sqrt_k``: ``1 / sqrt(|N_i|)``, the literal Eq. 5 of LUDP (2023).

    Args:
        features, k, block_bytes: as in :func:`knn_neighbors`.

    Raises:
        ValueError: an unknown weighting, or as :func:`knn_neighbors`.
    """
    if weighting not in WEIGHTINGS:
        raise ValueError(
            f"item graph weighting {weighting!r} is unknown; choose one of {', '.join(WEIGHTINGS)}"
        )
    neighbors, cosines = (
        table.cpu().numpy() for table in knn_neighbors(features, k, block_bytes=block_bytes)
    )
    rows, slots = np.nonzero(neighbors)
    values = cosines[rows, slots].astype(np.float64) if weighting == "similarity" else np.ones(len(rows))
    return _normalised(rows, neighbors[rows, slots], values, len(neighbors), both=weighting != "inverse_sqrt_k")


def masked_knn_graph(
    features: torch.Tensor, k: int, missing: torch.Tensor, *, block_bytes: int = 64 << 20
) -> SparseOperator:
    """The ``similarity`` graph of :func:`knn_graph` without some items, which keep themselves alone (DGMRec, 2025).

    They take their places among the k nearest before they are left out, so that others may have fewer; a row's sum is
    of what it keeps.

    Args:
        features, k, block_bytes: as in :func:`knn_neighbors`.
        missing: the items left out, bool ``[n_items]``; not [PAD].
    """
    neighbors, cosines = (table.cpu().numpy() for table in knn_neighbors(features, k, block_bytes=block_bytes))
    rows, slots = np.nonzero(neighbors)
    columns, left_out = neighbors[rows, slots], missing.cpu().numpy()
    kept = ~(left_out[rows] | left_out[columns])
    alone = np.flatnonzero(left_out)
    values = np.concatenate((cosines[rows, slots][kept].astype(np.float64), np.ones(len(alone))))
    rows, columns = (np.concatenate((end[kept], alone)) for end in (rows, columns))
    return _normalised(rows, columns, values, len(neighbors), both=True)


def _normalised(
    rows: np.ndarray, columns: np.ndarray, values: np.ndarray, n_items: int, both: bool
) -> SparseOperator:
    """Entries over the roots of the row sums, of their row and where `both` of their column."""
    row_sums = np.bincount(rows, weights=values, minlength=n_items)
    with np.errstate(divide="ignore"):
        inverse_roots = 1 / np.sqrt(row_sums.clip(min=0))
    inverse_roots[np.isinf(inverse_roots)] = 0
    values = values * inverse_roots[rows]
    if both:
        values *= inverse_roots[columns]
    return SparseOperator.from_coo(rows, columns, values, (n_items, n_items))


def combine(graphs: Sequence[SparseOperator], weights: Sequence[float]) -> SparseOperator:
    """``sum_m weights[m] * graphs[m]`` as one operator.

    Raises:
        ValueError: no graph, another number of weights than graphs, or graphs of different shapes.
    """
    _check_shapes(graphs)
    if len(graphs) != len(weights):
        raise ValueError(f"{len(graphs)} graphs need as many weights, not {len(weights)}")
    total = sum(float(weight) * graph.to_scipy() for graph, weight in zip(graphs, weights, strict=True))
    return SparseOperator.from_scipy(total)


def edgewise_maximum(graphs: Sequence[SparseOperator]) -> SparseOperator:
    """The largest value of each edge over the union of the graphs' edges (the fused graph of SMORE).

    An edge that a graph lacks counts as minus infinity there, not as 0: an edge present in one graph only
    keeps its value, also a negative one.

    Raises:
        ValueError: no graph, or graphs of different shapes.
    """
    shape = _check_shapes(graphs)
    entries = [graph.to_scipy().tocoo() for graph in graphs]
    keys = np.concatenate([entry.row.astype(np.int64) * shape[1] + entry.col for entry in entries])
    edges, edge_of_entry = np.unique(keys, return_inverse=True)
    largest = np.full(len(edges), -np.inf)
    np.maximum.at(largest, edge_of_entry, np.concatenate([entry.data for entry in entries]))
    return SparseOperator.from_coo(edges // shape[1], edges % shape[1], largest, shape)


def _check(features: torch.Tensor, k: int) -> None:
    if features.dim() != 2 or not features.is_floating_point():
        raise ValueError(
            f"item features must be a floating matrix [n_items, width], not {features.dtype} of shape "
            f"{list(features.shape)}"
        )
    if not 1 <= k < len(features):
        raise ValueError(
            f"an item graph of k = {k} neighbours needs 1 <= k <= {len(features) - 1}, the number of items"
        )


def with_inverse_norms(features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of the same directions whose squares the floating type holds, and 1 / norm of each ``[n_items]``.

    It is 0 for [PAD] and for rows without a direction. Raises ValueError for features that are not finite.
    """
    norms = torch.linalg.vector_norm(features, dim=1)
    kind = torch.finfo(norms.dtype)
    extreme = torch.nonzero(~((norms > kind.tiny**0.4) & (norms < kind.max**0.4))).flatten()
    extreme = extreme[(extreme > 0) & features[extreme].ne(0).any(dim=1)]
    if len(extreme):
        broken = ~torch.isfinite(features[extreme]).all(dim=1)
        if broken.any():
            raise ValueError(f"features of item id {int(extreme[broken][0])} are not finite")
        features = features.clone()
        features[extreme] /= features[extreme].abs().amax(dim=1, keepdim=True)
        norms[extreme] = torch.linalg.vector_norm(features[extreme], dim=1)
    norms[0] = 0.0
    return features, torch.where(norms >= kind.tiny, 1 / norms, 0.0)


def _block_neighbors(
    features: torch.Tensor, inverse_norms: torch.Tensor, rows: torch.Tensor, k: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Neighbour ids and cosines of some items, ``[n_rows, k]`` each, 0 and 0 where there is none."""
    similarity = (features[rows] * inverse_norms[rows, None]) @ features.T
    similarity.mul_(inverse_norms).clamp_(-1, 1)
    without_direction = inverse_norms == 0
    similarity.index_fill_(1, torch.nonzero(without_direction).flatten(), -torch.inf)
    similarity.index_fill_(0, torch.nonzero(without_direction[rows]).flatten(), -torch.inf)
    # The item itself comes first, however its cosine rounds.
    similarity[torch.arange(len(rows), device=rows.device), rows] = torch.inf
    neighbors, cosines = largest_per_row(similarity, k)
    cosines[:, 0] = 1.0
    absent = torch.isneginf(cosines)
    return neighbors.masked_fill_(absent, 0), cosines.masked_fill_(absent, 0.0)


def largest_per_row(similarity: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Columns and values of the k largest entries per row, ``[n_rows, k]`` each, descending, ties by smaller column."""
    if k == similarity.shape[1]:
        values, cols = similarity.sort(dim=1, descending=True, stable=True)
        return cols, values
    values, cols = similarity.topk(k + 1)
    cols, last = cols[:, :k], values[:, k - 1 : k]
    # topk takes any of the entries that equal the last one it takes.
    tied = (values[:, k] == last[:, 0]) & ~torch.isneginf(last[:, 0])
    if tied.any():
        cols[tied] = _first_of_equals(similarity[tied], last[tied], k)
    cols = cols.sort(dim=1).values
    values, order = similarity.gather(1, cols).sort(dim=1, descending=True, stable=True)
    return cols.gather(1, order), values


def _first_of_equals(similarity: torch.Tensor, last: torch.Tensor, k: int) -> torch.Tensor:
    """Columns ``[n_rows, k]`` of all entries above ``last`` and the first few that equal it."""
    above, equal = similarity > last, similarity == last
    places = k - above.sum(dim=1, keepdim=True)
    kept = above | (equal & (equal.cumsum(dim=1, dtype=torch.int32) <= places))
    return kept.nonzero()[:, 1].view(-1, k)


def _check_shapes(graphs: Sequence[SparseOperator]) -> tuple[int, int]:
    shapes = {graph.shape for graph in graphs}
    if len(shapes) != 1:
        raise ValueError(f"graphs of one shape can be combined, not of {sorted(shapes) or 'none'}")
    return shapes.pop()
