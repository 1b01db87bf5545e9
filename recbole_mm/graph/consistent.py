"""Item graphs of the pairs that all modalities agree on, and that of items used together (DA-MRS, KDD 2024)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from recbole_mm.graph.bipartite import BipartiteGraph
from recbole_mm.graph.item_graph import largest_per_row, with_inverse_norms
from recbole_mm.graph.operator import SparseOperator

_EPSILON = 1e-7
_ROUNDING = 64  # units of the floating type's precision; sums of up to thousands of products were seen to miss by 16


@torch.no_grad()
def consistent_graphs(features: Sequence[Tensor], k: int, *, block_bytes: int = 64 << 20) -> list[SparseOperator]:
    r"""Each modality's k nearest items among those that are similar in every modality, ``[n_items, n_items]`` each.

    A pair is kept where ``C^m_ij >= mean C^m`` in all modalities m, with C the cosines and the mean over all pairs of
    items, those of an item with itself included; it is ``|\sum_i f_i / |f_i||^2 / n^2``, so that no matrix is held.
    What rounding alone puts below the mean is kept: a modality whose rows are all alike leaves no pair out.
    Of what is kept each row has its ``min(k, kept)`` largest by its own modality, the item itself first, then smaller
    ids before larger ones; an entry is ``1 / sqrt((r_i + 1e-7) (r_j + 1e-7))`` with r how many entries a row has.
    An item without a direction in a modality is its own only neighbour in all of them.

    Args:
        features: of each modality, ``[n_items, width]``; row 0 ([PAD]) is ignored.
        k: entries per row, at most ``n_items - 1``.
        block_bytes: about the memory to work in.

    Raises:
        ValueError: features that are not finite.
    """
    units = []
    for feature in features:
        feature, inverse_norms = with_inverse_norms(feature if feature.dtype == torch.float64 else feature.float())
        units.append(feature * inverse_norms.unsqueeze(1))
    n_items = len(units[0])
    means = [unit.double().sum(dim=0).square().sum() / (n_items - 1) ** 2 for unit in units]
    has_direction = torch.stack([unit.ne(0).any(dim=1) for unit in units]).all(dim=0)
    size = max(1, block_bytes // (8 * len(units) * n_items))
    parts = [
        _block_neighbors(units, means, has_direction, rows, k)
        for rows in torch.arange(1, n_items, device=units[0].device).split(size)
    ]
    graphs = []
    for blocks in zip(*parts, strict=True):  # those of one modality
        rows, columns = (torch.cat(entries).cpu().numpy() for entries in zip(*blocks, strict=True))
        graphs.append(_row_normalised(rows, columns, n_items))
    return graphs


def _block_neighbors(
    units: Sequence[Tensor], means: Sequence[Tensor], has_direction: Tensor, rows: Tensor, k: int
) -> list[tuple[Tensor, Tensor]]:
    """Rows and columns of the kept entries of some items, for each modality."""
    with torch.autocast(rows.device.type, enabled=False):
        cosines = [unit[rows] @ unit.T for unit in units]
    kept = has_direction & has_direction[rows].unsqueeze(1)
    for cosine, mean in zip(cosines, means, strict=True):
        kept &= (cosine >= mean - _ROUNDING * torch.finfo(cosine.dtype).eps) & cosine.ne(0)
    own = torch.arange(len(rows), device=rows.device)
    entries = []
    for cosine in cosines:
        cosine.masked_fill_(~kept, -torch.inf)
        cosine[own, rows] = torch.inf
        columns, values = largest_per_row(cosine, k)
        there = ~torch.isneginf(values)
        entries.append((rows.unsqueeze(1).expand_as(columns)[there], columns[there]))
    return entries


def cooccurrence_graph(graph: BipartiteGraph, k: int = 2, smallest: int = 2) -> SparseOperator:
    """Each item and the k items that most users have together with it, ``[n_items, n_items]``.

    Pairs with fewer than `smallest` common users are left out; of equal counts the smaller id is taken. Entries are
    ``1 / sqrt((r_i + 1e-7) (r_j + 1e-7))`` with r how many entries a row has, itself included.

    Args:
        graph: the training interactions.
        k: other items per row, or fewer where there are fewer.
        smallest: count of common users.
    """
    rows, columns = used_together(graph, k, smallest)
    own = np.arange(1, graph.n_items)
    rows, columns = np.concatenate((rows, own)), np.concatenate((columns, own))
    return _row_normalised(rows, columns, graph.n_items)


def used_together(graph: BipartiteGraph, k: int, smallest: int, itself: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns ``[n_pairs]`` of the k items that most users have together with each item, row by row.

    Args:
        graph: the training interactions.
        k: of each item, or fewer where there are fewer; of equal counts the smaller ids.
        smallest: count of common users.
        itself: whether an item is among them, with its own users.
    """
    interactions = sp.csr_matrix(graph.raw_block().to_scipy(), dtype=np.int32)
    counts = (interactions.T @ interactions).tocoo()
    counted = ((counts.row != counts.col) | itself) & (counts.data >= smallest)
    rows, columns, values = counts.row[counted], counts.col[counted], counts.data[counted]
    order = np.lexsort((columns, -values, rows))
    rows, columns = rows[order], columns[order]
    starts = np.searchsorted(rows, np.arange(graph.n_items))
    taken = np.arange(len(rows)) - starts[rows] < k
    return rows[taken], columns[taken]


def _row_normalised(rows: np.ndarray, columns: np.ndarray, n_items: int) -> SparseOperator:
    """Entries of 1, divided by the roots of the row sums of both ends."""
    inverse_roots = 1 / np.sqrt(np.bincount(rows, minlength=n_items) + _EPSILON)
    return SparseOperator.from_coo(rows, columns, inverse_roots[rows] * inverse_roots[columns], (n_items, n_items))
