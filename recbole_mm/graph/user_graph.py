"""User-user graph: users who share training items, sampled to a fixed width each epoch (DualGNN, 2021)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from recbole_mm.graph.bipartite import BipartiteGraph
from recbole_mm.graph.operator import SparseOperator


class UserNeighbors(NamedTuple):
    """Each user's most co-occurring users, in CSR form; row 0 is [PAD] and empty.

    Attributes:
        indptr: ``[n_users + 1]``, where each user's neighbours start.
        users: ``[n_entries]`` neighbour ids, by descending count, equal counts by ascending id.
        counts: ``[n_entries]`` items that both users interacted with, at least 1.
    """

    indptr: np.ndarray
    users: np.ndarray
    counts: np.ndarray

    @classmethod
    def checked(cls, indptr: np.ndarray, users: np.ndarray, counts: np.ndarray, n_users: int) -> UserNeighbors:
        """Those of a file; raises ValueError where they are none of so many users, as :class:`SparseOperator`."""
        csr = SparseOperator(indptr, users, counts, (n_users, n_users)).to_scipy()
        return cls(csr.indptr, csr.indices, csr.data)


def cooccurrence_neighbors(
    graph: BipartiteGraph, limit: int = 200, block_pairs: int = 4_000_000
) -> UserNeighbors:
    """The ``limit`` users of largest ``|I_u intersect I_w|`` per user u, itself excluded.

    Args:
        graph: the training interactions.
        limit: neighbours kept per user; of equal counts the smaller id is kept.
        block_pairs: bound on the triples (user, item, other user) counted at one time; a user with more is a
            block of its own.

    Raises:
        ValueError: a limit below 1.
    """
    if limit < 1:
        raise ValueError(f"a user graph needs at least one neighbour per user, not {limit}")
    interactions = sp.csr_matrix(graph.raw_block().to_scipy(), dtype=np.int32)
    by_item = interactions.T.tocsr()
    blocks = [
        _largest_counts(interactions[start:stop] @ by_item, start, limit)
        for start, stop in _blocks(graph, block_pairs)
    ]
    sizes, users, counts = (np.concatenate(part) for part in zip(*blocks, strict=True))
    return UserNeighbors(np.concatenate(([0], np.cumsum(sizes))), users, counts)


class UserGraphSampler:
    """The user-user operator of each epoch.

    A user with at least ``width`` neighbours takes its top ``width``. A user with fewer takes all, and the
    list is filled to ``width`` by draws with replacement, each uniform over the list as filled so far. The
    weights of the ``width`` entries are the softmax of their counts; a user without neighbours has a zero
    row. The sample depends on ``seed`` and ``epoch`` alone.

    Args:
        neighbors: of :func:`cooccurrence_neighbors`.
        width: list length K.
        seed: not negative.

    Raises:
        ValueError: a width below 1 or a negative seed.
    """

    def __init__(self, neighbors: UserNeighbors, width: int = 40, seed: int = 0) -> None:
        if width < 1 or seed < 0:
            raise ValueError(
                f"a user graph needs a width of at least 1 and a seed of at least 0, not {width} and {seed}"
            )
        self.width, self.seed = width, seed
        available = np.diff(neighbors.indptr)
        self._sizes = np.minimum(available, width)
        self._short = np.flatnonzero((0 < available) & (available < width))
        self._indptr = np.concatenate(([0], np.cumsum(self._sizes)))
        rows = np.repeat(np.arange(len(available)), self._sizes)
        slots = np.arange(len(rows)) - self._indptr[rows]
        taken = neighbors.indptr[rows] + slots
        self._rows, self._slots, self._users = rows, slots, neighbors.users[taken]
        largest = neighbors.counts[taken[self._indptr[rows]]]
        self._softmax_terms = np.exp((neighbors.counts[taken] - largest).astype(np.float64))
        self._latest: tuple[int, SparseOperator] | None = None

    def sample(self, epoch: int) -> SparseOperator:
        """The operator of this epoch, counted from 0, ``[n_users, n_users]``; non-zero rows sum to 1.

        That of the latest epoch asked for is kept, so that a model may ask whenever it needs it.
        """
        if self._latest is None or self._latest[0] != epoch:
            self._latest = (epoch, self._draw(epoch))
        return self._latest[1]

    def _draw(self, epoch: int) -> SparseOperator:
        n_users = len(self._sizes)
        weights = self._softmax_terms * self.multiplicities(epoch)[self._rows, self._slots]
        weights /= np.bincount(self._rows, weights=weights, minlength=n_users)[self._rows]
        return SparseOperator(self._indptr, self._users, weights, (n_users, n_users))

    def multiplicities(self, epoch: int) -> np.ndarray:
        """How often each user's list holds its first, second, ... neighbour, ``[n_users, width]``."""
        random = np.random.default_rng((self.seed, epoch))
        width = self.width
        lists = np.broadcast_to(np.arange(width), (len(self._short), width)).copy()
        sizes = self._sizes[self._short]
        for position in range(1, width):
            filling = np.flatnonzero(sizes <= position)
            lists[filling, position] = lists[filling, random.integers(position, size=len(filling))]
        times = (np.arange(width) < self._sizes[:, None]).astype(np.int64)
        flat = lists + np.arange(len(self._short))[:, None] * width
        times[self._short] = np.bincount(flat.ravel(), minlength=lists.size).reshape(lists.shape)
        return times


def _blocks(graph: BipartiteGraph, block_pairs: int) -> Iterator[tuple[int, int]]:
    """Ranges of consecutive users whose pairs to count stay within the bound."""
    pairs = np.bincount(graph.users, weights=graph.item_degrees[graph.items], minlength=graph.n_users)
    cumulative = np.cumsum(pairs)
    start = 0
    while start < graph.n_users:
        done = cumulative[start - 1] if start else 0.0
        stop = max(start + 1, int(np.searchsorted(cumulative, done + block_pairs, side="right")))
        yield start, stop
        start = stop


def _largest_counts(
    counts: sp.csr_matrix, first: int, limit: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Per row: how many are kept, and the kept users and counts, by descending count and ascending user."""
    rows = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
    others = counts.indices != rows + first
    rows, users, values = rows[others], counts.indices[others], counts.data[others]
    # One integer per pair that sorts by row, descending count, user: several times faster than a lexsort.
    top, n_users = int(values.max(initial=0)), counts.shape[1]
    keys = np.sort((rows * (top + 1) + (top - values)) * n_users + users)
    ranked, users = np.divmod(keys, n_users)
    rows, below_top = np.divmod(ranked, top + 1)
    sizes = np.bincount(rows, minlength=counts.shape[0])
    rank = np.arange(len(rows)) - (np.cumsum(sizes) - sizes)[rows]
    kept = rank < limit
    return np.minimum(sizes, limit), users[kept], (top - below_top)[kept]
