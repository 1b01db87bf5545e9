"""What behaviour knows of a batch's items, passed on to their modalities (PTMRec), as a pure function."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

DIRECTIONS = ("forward", "reverse")


def knowledge_transfer_loss(
    users: Tensor,
    items: Tensor,
    modalities: Sequence[Tensor],
    *,
    direction: str = "forward",
    stop_users: bool = False,
) -> Tensor:
    r"""Divergence of each modality's in-batch preferences from those of behaviour, summed over modalities.

    .. math::
        T = sg(\mathrm{softmax}(E_u E_{id}^T)), \quad Q^m = \mathrm{softmax}(E_u {X^m}^T), \quad
        L = \sum_m \mathrm{mean}_{rows}\, KL(T \| Q^m)

    Rows are the batch's users, columns its positive items. No gradient goes through T.

    Args:
        users: behaviour vectors of the users, ``[batch, d]``.
        items: behaviour vectors of the positive items, ``[batch, d]``.
        modalities: projected features ``X^m`` of the same items, ``[batch, d]`` each.
        direction: ``forward`` is KL(T || Q), what the paper's arguments mean to torch's ``kl_div``; ``reverse`` is
            KL(Q || T), as they are printed.
        stop_users: whether Q gives no gradient to the users.

    Raises:
        ValueError: the direction is unknown.
    """
    if direction not in DIRECTIONS:
        raise ValueError(f"transfer_direction: '{direction}' must be {' or '.join(DIRECTIONS)}")
    target = F.log_softmax(users.detach() @ items.detach().T, dim=1)
    queries = users.detach() if stop_users else users
    loss = users.new_zeros(())
    for vectors in modalities:
        preferences = F.log_softmax(queries @ vectors.T, dim=1)
        first, second = (preferences, target) if direction == "forward" else (target, preferences)
        loss = loss + F.kl_div(first, second, reduction="batchmean", log_target=True)
    return loss
