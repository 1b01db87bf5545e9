"""Whose knowledge of users and items PTMRec's transfer hands on to the modalities."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Literal

import torch
from torch import Tensor, nn

from recbole_mm.model.base import MultimodalRecommender

Target = Literal["moving", "snapshot", "ids"]


class BehaviourTarget(nn.Module):
    """The users and items of the transfer's target T, and the users that meet the modalities in Q.

    ``moving``: ``behaviour_tables()`` as it is, for T and Q. ``snapshot``: T from that table as stage one left it, in
    evaluation mode, Q from the moving one. ``ids``: the raw ID vectors for both, the letter of the paper, which calls
    ``E_u`` and ``E_id`` ID embeddings.

    Args:
        backbone: whose tables these are; it is not registered here.
        kind: one of the three. A snapshot is saved with the model.

    Raises:
        ValueError: the backbone has no ID vectors, which ``ids`` asks for.
    """

    users: Tensor  # of a snapshot
    items: Tensor

    def __init__(self, backbone: MultimodalRecommender, kind: Target):
        super().__init__()
        self.kind = kind
        if kind == "ids":
            try:
                backbone.id_tables  # noqa: B018
            except ValueError as error:
                raise ValueError(f"transfer_target: {error}, which 'ids' needs; choose moving or snapshot") from error
        if kind == "snapshot":
            for name, table in zip(("users", "items"), _tables(backbone), strict=True):
                self.register_buffer(name, torch.zeros_like(table))

    def take(self, backbone: MultimodalRecommender) -> None:
        """Keep what the backbone knows now, for ``snapshot``."""
        if self.kind == "snapshot":
            for buffer, table in zip((self.users, self.items), _tables(backbone), strict=True):
                buffer.copy_(table)

    def tables(self, backbone: MultimodalRecommender) -> tuple[Tensor, Tensor, Tensor]:
        """Users ``[n_users, d]`` and items ``[n_items, d]`` of T, and the users of Q."""
        if self.kind == "snapshot":
            return self.users, self.items, backbone.behaviour_tables()[0]
        users, items = backbone.id_tables if self.kind == "ids" else backbone.behaviour_tables()
        return users, items, users


@torch.no_grad()
def _tables(backbone: MultimodalRecommender) -> tuple[Tensor, Tensor]:
    """The behaviour tables as an evaluation sees them."""
    was_training = backbone.training
    nn.Module.train(backbone, False)
    users, items = backbone.behaviour_tables()
    nn.Module.train(backbone, was_training)
    return users.detach(), items.detach()


@contextmanager
def tables_computed_once(backbone: MultimodalRecommender) -> Iterator[None]:
    """Within the context ``behaviour_tables()``, which loss and transfer both ask for, is computed once."""
    object.__setattr__(backbone, "behaviour_tables", cache(backbone.behaviour_tables))
    try:
        yield
    finally:
        object.__delattr__(backbone, "behaviour_tables")
