"""Scores that are dot products of two tables, and an evaluation that computes the tables once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from recbole.data.interaction import Interaction
from torch import Tensor


class TableScores:
    """The part of a recommender that scores with what :meth:`score_tables` gives."""

    USER_ID: str
    ITEM_ID: str
    n_users: int
    n_items: int
    _scores_are_cached = False
    _cached_tables: tuple[Tensor, Tensor] | None = None

    def encode(self) -> tuple[Tensor, Tensor]:
        """User and item vectors for the current parameters, in training or evaluation mode."""
        name = type(self).__name__
        raise NotImplementedError(f"{name} has no encode of its own; define it: user and item vectors, one table each")

    def score_tables(self) -> tuple[Tensor, Tensor]:
        """Matrices ``[n_users, width]`` and ``[n_items, width]`` whose dot products are the scores.

        Always of the current parameters. The public code of MMGCN, GRCN, DualGNN, DRAGON and SLMRec scores with what
        its last training batch had computed, before that batch's step; there is no key for it.
        """
        return self.encode()

    @contextmanager
    def scores_cached(self) -> Iterator[None]:
        """Within the context parameters do not change, so that all batches of an evaluation share one encoding."""
        self._scores_are_cached = True
        try:
            yield
        finally:
            self._scores_are_cached, self._cached_tables = False, None

    def _tables(self) -> tuple[Tensor, Tensor]:
        if not self._scores_are_cached:
            return self._checked_tables()
        if self._cached_tables is None:
            self._cached_tables = self._checked_tables()
        return self._cached_tables

    def _checked_tables(self) -> tuple[Tensor, Tensor]:
        """Those of :meth:`score_tables`; raises ValueError where they are not of all users and items."""
        users, items = self.score_tables()
        if (len(users), len(items)) != (self.n_users, self.n_items):
            raise ValueError(
                f"{type(self).__name__}: encode gave vectors of {len(users)} users and {len(items)} items; it is to "
                f"give those of all {self.n_users} and {self.n_items}, [PAD] included"
            )
        return users, items

    def predict(self, interaction: Interaction) -> Tensor:
        """Scores of the user-item pairs of a batch, ``[batch]``."""
        users, items = self._tables()
        return (users[interaction[self.USER_ID]] * items[interaction[self.ITEM_ID]]).sum(dim=-1)

    def full_sort_predict(self, interaction: Interaction) -> Tensor:
        """Scores of all items for the users of a batch, flattened ``[batch * n_items]``; [PAD] gets minus infinity."""
        scores = self.user_scores(interaction[self.USER_ID])
        scores[:, 0] = -torch.inf
        return scores.view(-1)

    def user_scores(self, users: Tensor) -> Tensor:
        """Scores of all items for some users, ``[n, n_items]``; that of [PAD] means nothing."""
        user_table, item_table = self._tables()
        return user_table[users] @ item_table.T
