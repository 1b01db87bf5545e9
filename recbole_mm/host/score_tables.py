"""User and item vectors of RecBole's own models whose scores are their dot products."""

from __future__ import annotations

from typing import Any

import torch
from recbole.data.interaction import Interaction
from torch import Tensor

_USERS_COMPARED = 16


@torch.no_grad()
def score_tables(model: Any) -> tuple[Tensor, Tensor] | None:
    """Vectors ``[n_users, d]`` and ``[n_items, d]`` whose dot products are a model's scores; None where there are none.

    A model that keeps the vectors of an evaluation gives them by ``forward()`` (LightGCN, NGCF and other graph models),
    another has them as tables (BPR). Its own scores of some users decide whether they are what it ranks by.
    """
    tables = _candidates(model)
    if tables is None or not hasattr(model, "full_sort_predict"):
        return None
    users, items = tables
    compared = torch.arange(1, min(len(users), _USERS_COMPARED + 1), device=users.device)
    scores = model.full_sort_predict(Interaction({model.USER_ID: compared})).view(len(compared), -1)
    own = users[compared] @ items.T
    return tables if scores.shape == own.shape and torch.allclose(scores, own, rtol=1e-4, atol=1e-5) else None


def _candidates(model: Any) -> tuple[Tensor, Tensor] | None:
    if hasattr(model, "restore_user_e"):
        given = model.forward()
    else:
        given = [getattr(getattr(model, name, None), "weight", None) for name in ("user_embedding", "item_embedding")]
    are_tables = isinstance(given, (tuple, list)) and len(given) >= 2 and all(
        isinstance(table, Tensor) and table.dim() == 2 for table in given[:2]
    )
    return (given[0], given[1]) if are_tables else None
