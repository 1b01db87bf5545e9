"""What DGMRec passes between its forward pass and the terms of its loss."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Draw(NamedTuple):
    """What is drawn for a batch, whose distinct items are n; empty lists where their term is not in the loss.

    Attributes:
        decoded: noise on the content that is decoded, ``[n_items, 2 d]`` of each modality.
        permutations: of all items, ``[n_items - 1]`` of each bound.
        filters: noise on filters, ``[n, d]`` of each modality.
        translated: noise on other modalities' content, ``[n, d]`` of each other of each modality.
    """

    decoded: list[Tensor]
    permutations: list[Tensor]
    filters: list[Tensor]
    translated: list[list[Tensor]]


class Parts(NamedTuple):
    """Vectors of all users and items; lists are of each modality.

    Attributes:
        users, items: propagated IDs U ``[n_users, d]`` and I ``[n_items, d]``.
        general, specific, filters: g, s and c, ``[n_items, d]``, before the item graphs.
        item_general, item_specific: gi and si, ``[n_items, d]``.
        user_general, user_specific: gu and su, ``[n_users, d]``.
    """

    users: Tensor
    items: Tensor
    general: list[Tensor]
    specific: list[Tensor]
    filters: list[Tensor]
    item_general: list[Tensor]
    item_specific: list[Tensor]
    user_general: list[Tensor]
    user_specific: list[Tensor]

    @property
    def item_content(self) -> list[Tensor]:
        """``gi + si``, ``[n_items, d]`` of each modality."""
        return [general + specific for general, specific in zip(self.item_general, self.item_specific, strict=True)]
