"""The fusion of views that modality graphs give of users or items (MMSSL, WWW 2023)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class ModalityViews(nn.Module):
    r"""``mean_m [head_1^m; ...; head_H^m] W``, ``[n, d]``, of views ``h^m [n, d]``.

    - ``identity``: each head is the view itself, as the public code's attention, which aligns values with queries and
      whose weights sum to 1;
    - ``cross``: head r of modality m is :math:`\sum_o \alpha^r_{mo} h^o`, with
      :math:`\alpha^r_m = \mathrm{softmax}_o \langle (h^m W_q)_r, (h^o W_k)_r \rangle / \sqrt{d / H}` and ``(x)_r`` the
      r-th of H parts of x.

    Args:
        size: d.
        n_heads: H; for ``cross`` a divisor of d.
        attention: one of the two above.
    """

    def __init__(self, size: int, n_heads: int, attention: str):
        super().__init__()
        if attention == "cross" and size % n_heads:
            raise ValueError(f"n_heads: {n_heads} must divide embedding_size: {size}")
        self.n_heads = n_heads
        self.head_weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(n_heads * size, size)))
        self.query_weight = self.key_weight = None
        if attention == "cross":
            self.query_weight, self.key_weight = (
                nn.Parameter(nn.init.xavier_uniform_(torch.empty(size, size))) for _ in range(2)
            )

    def forward(self, views: Sequence[Tensor]) -> Tensor:
        """The fused view ``[n, d]``."""
        if self.query_weight is None:
            heads = self.head_weight.view(self.n_heads, -1, self.head_weight.shape[1])
            return (sum(views) / len(views)) @ heads.sum(dim=0)
        stacked = torch.stack(tuple(views), dim=1)
        queries, keys = (
            (stacked @ weight).unflatten(2, (self.n_heads, -1)) for weight in (self.query_weight, self.key_weight)
        )
        scores = torch.einsum("nmhc,nohc->nhmo", queries, keys) / math.sqrt(queries.shape[-1])
        shares = scores.softmax(dim=-1).mean(dim=2)  # of each head, over the modalities that ask
        return torch.einsum("nho,nod->nhd", shares, stacked).flatten(1) @ self.head_weight
