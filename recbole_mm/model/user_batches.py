"""Training batches of users, instead of interactions: one positive and one negative item for each (MMSSL, WWW 2023)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from recbole.data.interaction import Interaction

from recbole_mm.graph import BipartiteGraph


class UserBatches:
    """An epoch's batches: ``n_edges // batch_size + 1`` of them, each of different users drawn anew.

    Users are drawn uniformly among those with a training item, with replacement only where there are fewer than
    `batch_size`; a positive item uniformly among a user's training items, a negative one among all others.

    Args:
        graph: the training interactions.
        batch_size: users per batch.
        fields: names of the columns of users, positive and negative items.
        negatives: ids of the items that negative ones are drawn from; all items if not given.

    Raises:
        ValueError: a user with all these items has no negative one.
    """

    shuffle = True

    def __init__(
        self,
        graph: BipartiteGraph,
        batch_size: int,
        fields: tuple[str, str, str],
        negatives: np.ndarray | None = None,
    ):
        self._drawn_from = np.arange(1, graph.n_items) if negatives is None else negatives
        if graph.n_edges and graph.user_degrees.max() >= len(self._drawn_from):
            user, n_drawn = int(graph.user_degrees.argmax()), len(self._drawn_from)
            raise ValueError(f"user id {user} has all {n_drawn} items in training: no negative one is left")
        self.graph, self.batch_size, self.fields = graph, batch_size, fields
        self._users = np.flatnonzero(graph.user_degrees)
        self._starts = np.concatenate(([0], np.cumsum(graph.user_degrees)))
        self._edges = graph.users * graph.n_items + graph.items  # ascending
        self._random = np.random.default_rng()

    def of_epoch(self, seed: int, epoch: int) -> UserBatches:
        """These, as this epoch draws them."""
        self._random = np.random.default_rng((seed, epoch))
        return self

    def __len__(self) -> int:
        return self.graph.n_edges // self.batch_size + 1

    def __iter__(self) -> Iterator[Interaction]:
        for _ in range(len(self)):
            yield self.draw()

    def draw(self) -> Interaction:
        """One batch."""
        again = len(self._users) < self.batch_size
        users = self._random.choice(self._users, self.batch_size, replace=again)
        slots = (self._random.random(len(users)) * self.graph.user_degrees[users]).astype(np.int64)
        columns = (users, self.graph.items[self._starts[users] + slots], self._negatives(users))
        return Interaction({field: torch.from_numpy(ids) for field, ids in zip(self.fields, columns, strict=True)})

    def _negatives(self, users: np.ndarray) -> np.ndarray:
        items = np.zeros(len(users), dtype=np.int64)
        open_rows = np.arange(len(users))
        while len(open_rows):
            items[open_rows] = self._drawn_from[self._random.integers(0, len(self._drawn_from), len(open_rows))]
            keys = users[open_rows] * self.graph.n_items + items[open_rows]
            places = np.minimum(np.searchsorted(self._edges, keys), len(self._edges) - 1)
            open_rows = open_rows[self._edges[places] == keys]
        return items
