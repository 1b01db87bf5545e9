"""What behaviour knows of a batch's items, passed on to their modalities (PTMRec), as a pure function."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch.nn.functional as F
from torch import Tensor

DIRECTIONS = ("forward", "reverse")


def knowledge_transfer_loss(
    users: Tensor,
    items: Tensor,
    modalities: Sequence[Tensor],
    *,
    target_users: Tensor | None = None,
    group: int | None = None,
    temperature: float = 1.0,
    direction: str = "forward",
    stop_users: bool = False,
) -> Tensor:
    r"""Divergence of each modality's in-batch preferences from those of behaviour, summed over modalities.

    .. math::
        T = sg(\mathrm{softmax}(E_u E_{id}^T / \tau)), \quad Q^m = \mathrm{softmax}(E_u {X^m}^T / \tau), \quad
        L = \sum_m \mathrm{mean}_{rows}\, KL(T \| Q^m)

    Rows are the batch's users, columns its positive items. No gradient goes through T.

    Args:
        users: behaviour vectors of the users, ``[batch, d]``.
        items: behaviour vectors of the positive items, ``[batch, d]``.
        modalities: projected features ``X^m`` of the same items, ``[batch, d]`` each.
        target_users: those of T, ``[batch, d]``, where they are not the users of Q.
        group: pairs that are compared with one another, where not all of them are.
        temperature: tau, of both distributions; the paper has none, which is 1.
        direction: ``forward`` is KL(T || Q), what the paper's arguments mean to torch's ``kl_div``; ``reverse`` is
            KL(Q || T), as they are printed.
        stop_users: whether Q gives no gradient to the users.

    Raises:
        ValueError: the direction is unknown.
    """
    if direction not in DIRECTIONS:
        raise ValueError(f"transfer_direction: '{direction}' must be {' or '.join(DIRECTIONS)}")
    queries = users.detach() if stop_users else users
    rows = [queries, items, users if target_users is None else target_users, *modalities]
    divergences = _divergences(rows, group or len(users), temperature, direction)
    return sum(divergences, start=users.new_zeros(())) / len(users)


def _divergences(rows: list[Tensor], group: int, temperature: float, direction: str) -> Iterator[Tensor]:
    """That of each modality in each group, summed over it; rows: users of Q, items, users of T, each X^m."""
    for queries, items, target_users, *modalities in zip(*(row.split(group) for row in rows), strict=True):
        target = _log_preferences(target_users.detach(), items.detach(), temperature)
        for modality in modalities:
            preferences = _log_preferences(queries, modality, temperature)
            first, second = (preferences, target) if direction == "forward" else (target, preferences)
            yield F.kl_div(first, second, reduction="sum", log_target=True)


def _log_preferences(users: Tensor, items: Tensor, temperature: float) -> Tensor:
    """Logarithms ``[group, group]`` of each user's preferences among the items."""
    return F.log_softmax(users @ items.T / temperature, dim=1)
