"""The user-item graph of the training interactions, its normalisations and its sampling per epoch."""

from __future__ import annotations

import copy
import math

import numpy as np
import scipy.sparse as sp
import torch

from recbole_mm.graph.operator import SparseOperator, as_numpy


class BipartiteGraph:
    """The unique user-item pairs of the training interactions.

    Ids are RecBole's: row 0 of users and of items is [PAD], which has no edge. Where a method gives a square
    operator its nodes are the users followed by the items, ``n_nodes = n_users + n_items`` (both with [PAD]).
    Each call of a method builds a new operator.

    Args:
        users, items: ``[n_interactions]`` ids of each interaction, NumPy or torch; repeated pairs count once.
        n_users, n_items: table sizes, including row 0.

    Attributes:
        users, items: ``[n_edges]`` int64, the edges in ascending order of user, then of item.
        user_degrees, item_degrees: ``[n_users]``, ``[n_items]`` int64.

    Raises:
        ValueError: arrays of different lengths, or an id outside ``1 .. n - 1``.
    """

    def __init__(
        self,
        users: np.ndarray | torch.Tensor,
        items: np.ndarray | torch.Tensor,
        n_users: int,
        n_items: int,
    ) -> None:
        users, items = (as_numpy(ids).astype(np.int64) for ids in (users, items))
        if users.shape != items.shape or users.ndim != 1:
            raise ValueError(
                f"an edge needs one user and one item, not arrays of {users.shape} and {items.shape}"
            )
        _check_ids(users, n_users, "user")
        _check_ids(items, n_items, "item")
        self.n_users, self.n_items = int(n_users), int(n_items)
        self._set_edges(*np.divmod(np.unique(users * self.n_items + items), self.n_items))

    def _set_edges(self, users: np.ndarray, items: np.ndarray) -> None:
        self.users, self.items = users, items
        self.user_degrees = np.bincount(self.users, minlength=self.n_users)
        self.item_degrees = np.bincount(self.items, minlength=self.n_items)

    @property
    def n_nodes(self) -> int:
        """Users and items together, [PAD] rows included."""
        return self.n_users + self.n_items

    @property
    def n_edges(self) -> int:
        """Unique user-item pairs."""
        return len(self.users)

    def keep(self, edges: np.ndarray) -> BipartiteGraph:
        """The graph of a part of the edges, ascending positions in ``users``; degrees are counted on them."""
        kept = copy.copy(self)
        kept._set_edges(self.users[edges], self.items[edges])
        return kept

    def symmetric(self, epsilon: float = 1e-7) -> SparseOperator:
        """``D^-1/2 A D^-1/2``, ``[n_nodes, n_nodes]``: an edge is ``1 / sqrt((d_u + eps) (d_i + eps))``.

        Nodes without edges have a zero row; there are no self loops (LightGCN, He et al. 2020, Eq. 3).
        """
        indptr, indices, degrees = self._mirrored()
        inverse_roots = 1.0 / np.sqrt(np.maximum(degrees, 1) + epsilon)
        values = np.repeat(inverse_roots, degrees) * inverse_roots[indices]
        return SparseOperator(indptr, indices, values, (self.n_nodes, self.n_nodes), symmetric=True)

    def row_with_self(self) -> SparseOperator:
        """``(D + I)^-1 (A + I)``, ``[n_nodes, n_nodes]`` (the user-item graph of LATTICE, Zhang et al. 2021).

        [PAD] rows have no self loop and are zero; any other node without edges keeps itself with weight 1.
        """
        with_self, degrees = self._with_self()
        with_self.data /= np.repeat(degrees, np.diff(with_self.indptr))
        return SparseOperator.from_scipy(with_self)

    def symmetric_with_self(self) -> SparseOperator:
        """``D^-1/2 (A + I) D^-1/2``, ``[n_nodes, n_nodes]``, degrees counting the self loop (DiffMM, ACM MM 2024).

        [PAD] rows have no self loop and are zero.
        """
        with_self, degrees = self._with_self()
        inverse_roots = 1 / np.sqrt(degrees)
        with_self.data *= np.repeat(inverse_roots, np.diff(with_self.indptr)) * inverse_roots[with_self.indices]
        return SparseOperator(with_self.indptr, with_self.indices, with_self.data, with_self.shape, symmetric=True)

    def _with_self(self) -> tuple[sp.csr_matrix, np.ndarray]:
        """``A + I`` but for [PAD] rows, sorted, and the degree of each node with its self loop."""
        indptr, indices, degrees = self._mirrored()
        shape = (self.n_nodes, self.n_nodes)
        adjacency = sp.csr_matrix((np.ones(len(indices)), indices, indptr), shape)
        nodes = np.delete(np.arange(self.n_nodes), [0, self.n_users])
        loops = sp.coo_matrix((np.ones(len(nodes)), (nodes, nodes)), shape)
        return (adjacency + loops).tocsr(), degrees + 1

    def mean(self) -> SparseOperator:
        """``D^-1 A``, ``[n_nodes, n_nodes]``: the mean over each node's neighbours, zero without any."""
        indptr, indices, degrees = self._mirrored()
        values = 1.0 / np.repeat(degrees, degrees)
        return SparseOperator(indptr, indices, values, (self.n_nodes, self.n_nodes))

    def user_item_block(self, epsilon: float = 0.0) -> SparseOperator:
        """``R``, the ``[n_users, n_items]`` block of :meth:`symmetric`."""
        degrees = (self.user_degrees[self.users] + epsilon) * (self.item_degrees[self.items] + epsilon)
        return self._block(1.0 / np.sqrt(degrees))

    def raw_block(self) -> SparseOperator:
        """The interactions as 0 and 1, ``[n_users, n_items]``."""
        return self._block(np.ones(self.n_edges))

    def user_mean_block(self) -> SparseOperator:
        """``[n_users, n_items]``: the mean over the items of each user, zero for a user without any."""
        return self._block(1.0 / self.user_degrees[self.users])

    def item_mean_block(self, epsilon: float = 0.0) -> SparseOperator:
        """``[n_items, n_users]``: the sum over the users of each item over their number and epsilon; zero without."""
        by_item = self.raw_block().transpose().to_scipy()
        values = 1.0 / np.repeat(self.item_degrees + epsilon, self.item_degrees)
        return SparseOperator(by_item.indptr, by_item.indices, values, (self.n_items, self.n_users))

    def user_root_block(self, epsilon: float = 1e-8) -> SparseOperator:
        """``D_u^-1/2 A``, ``[n_users, n_items]``, by the users' degrees alone (MMSSL, WWW 2023)."""
        return self._block(1 / np.sqrt(self.user_degrees[self.users] + epsilon))

    def item_root_block(self, epsilon: float = 1e-8) -> SparseOperator:
        """``D_i^-1/2 A^T``, ``[n_items, n_users]``, by the items' degrees alone (MMSSL, WWW 2023)."""
        by_user = self._block(1 / np.sqrt(self.item_degrees[self.items] + epsilon))
        return by_user.transpose()

    def _block(self, values: np.ndarray) -> SparseOperator:
        return SparseOperator(self._user_starts(), self.items, values, (self.n_users, self.n_items))

    def _user_starts(self) -> np.ndarray:
        return np.concatenate(([0], np.cumsum(self.user_degrees)))

    def _mirrored(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """CSR structure ``(indptr, indices)`` of ``[[0, A], [A^T, 0]]`` and the degree of each node."""
        starts = self._user_starts()
        # The edges are sorted by user, so the upper half is in CSR order as it stands; SciPy's CSR to CSC
        # conversion orders the lower half in linear time, where a sort would dominate an epoch's rebuild.
        ones = np.ones(self.n_edges, dtype=np.int8)
        by_item = sp.csr_matrix((ones, self.items, starts), (self.n_users, self.n_items)).tocsc()
        indptr = np.concatenate((starts, self.n_edges + by_item.indptr[1:]))
        indices = np.concatenate((self.items + self.n_users, by_item.indices))
        return indptr, indices, np.concatenate((self.user_degrees, self.item_degrees))


class EdgeSampler:
    """Drops a share of the edges anew in every epoch of training; evaluation uses the full graph.

    ``int(n_edges * (1 - drop_rate))`` edges are kept, degrees are counted again on them, and the result is
    normalised as :meth:`BipartiteGraph.symmetric`. Modes:

    - ``degree``: kept without replacement, each draw with probability proportional to ``1 / sqrt(d_u d_i)``
      of the full graph, so that edges between popular nodes go first (FREEDOM, Zhou and Shen 2023; LayerGCN,
      Zhou et al. 2023). Drawn as an exponential race: each edge gets an exponential arrival time of that rate
      and the first arrivals are kept, which has the distribution of drawing one after the other
      (memorylessness) in one vectorised pass and for any number of edges.
    - ``uniform``: every set of kept edges is equally likely.
    - ``alternate``: ``degree`` in epochs 0, 2, 4, ..., ``uniform`` in epochs 1, 3, 5, ...

    The sample depends on ``seed`` and ``epoch`` alone: every process of a distributed run gets the same
    edges, and a resumed run those it would have had.

    Raises:
        ValueError: an unknown mode, a drop rate that is not a number or keeps no edge, a negative seed.
    """

    MODES = ("degree", "uniform", "alternate")

    def __init__(
        self, graph: BipartiteGraph, drop_rate: float, mode: str, seed: int, epsilon: float = 1e-7
    ) -> None:
        if mode not in self.MODES:
            raise ValueError(f"edge sampling mode {mode!r} is unknown; choose one of {', '.join(self.MODES)}")
        if math.isnan(drop_rate) or drop_rate >= 1:
            raise ValueError(f"an edge drop rate must be a number below 1, not {drop_rate}")
        if seed < 0:
            raise ValueError(f"the seed of an edge sampler must not be negative, but is {seed}")
        self.graph, self.mode, self.seed, self.epsilon = graph, mode, seed, epsilon
        self.n_kept = graph.n_edges if drop_rate <= 0 else int(graph.n_edges * (1 - drop_rate))
        if self.n_kept == 0:
            raise ValueError(f"edge_dropout: {drop_rate} keeps none of {graph.n_edges} edges; give less")
        self._popularity = np.sqrt(graph.user_degrees[graph.users] * graph.item_degrees[graph.items])
        self._full: SparseOperator | None = None

    @classmethod
    def keeping(cls, graph: BipartiteGraph, keep_ratio: float, mode: str, seed: int) -> EdgeSampler:
        """A sampler of ``int(n_edges * keep_ratio)`` edges, which ``1 - keep_ratio`` dropped may miss by rounding.

        Raises:
            ValueError: a ratio that keeps no edge, or as the constructor.
        """
        n_kept = int(graph.n_edges * keep_ratio)
        if not 1 <= n_kept <= graph.n_edges:
            remedy = "more" if n_kept < 1 else "at most 1"
            raise ValueError(f"keep_ratio: {keep_ratio} keeps {n_kept} of {graph.n_edges} edges; give {remedy}")
        sampler = cls(graph, 0.0, mode, seed)
        sampler.n_kept = n_kept
        return sampler

    def sample(self, epoch: int) -> SparseOperator:
        """The operator of this epoch, counted from 0, ``[n_nodes, n_nodes]``; built once if nothing drops."""
        if self.n_kept < self.graph.n_edges:
            return self.graph.keep(self.kept_edges(epoch)).symmetric(self.epsilon)
        if self._full is None:
            self._full = self.graph.symmetric(self.epsilon)
        return self._full

    def kept_edges(self, epoch: int) -> np.ndarray:
        """The kept edges of this epoch, ``[n_kept]`` ascending positions in the graph's edges."""
        arrival = np.random.default_rng((self.seed, epoch)).standard_exponential(self.graph.n_edges)
        if self.mode == "degree" or (self.mode == "alternate" and epoch % 2 == 0):
            arrival *= self._popularity
        kept = np.zeros(self.graph.n_edges, dtype=bool)
        kept[np.argpartition(arrival, self.n_kept - 1)[: self.n_kept]] = True
        return np.flatnonzero(kept)


def _check_ids(ids: np.ndarray, size: int, kind: str) -> None:
    wrong = ids[(ids < 1) | (ids >= size)]
    if len(wrong):
        raise ValueError(f"{kind} id {wrong[0]} is not in 1 .. {size - 1}, the {kind}s that can have an edge")
