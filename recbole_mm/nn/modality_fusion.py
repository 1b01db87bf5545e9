"""Several vectors of a user or an item, one per modality, become one (LUDP, 2023)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

KINDS = ("attention", "sum", "concat")


class ModalityFusion(nn.Module):
    r"""M vectors ``h^m`` of each row into one of the same width.

    - ``attention``: ``\sum_m \alpha^m h^m``, per row ``\alpha`` the softmax over m of
      ``q^T \tanh(W_m h^m + b)``, with a map of each modality's own, b and q shared;
    - ``sum``: ``\sum_m h^m``;
    - ``concat``: a linear map of all of them side by side.

    ``shared`` attention has one ``\alpha^m`` for all rows, from the scores' mean over them, the first ([PAD])
    left out. Attention over one modality is the vector itself and has no parameters. Matrices start Xavier normal,
    biases zero.

    Raises:
        ValueError: an unknown kind.
    """

    def __init__(self, kind: str, n_modalities: int, width: int, *, shared: bool = False):
        super().__init__()
        if kind not in KINDS:
            raise ValueError(f"fusion: '{kind}' is unknown; choose one of {', '.join(KINDS)}")
        self.kind = "sum" if kind == "attention" and n_modalities == 1 else kind
        self.shares_attention = shared and self.kind == "attention"
        if self.kind == "attention":
            self.weight = nn.Parameter(torch.stack([_xavier(width, width) for _ in range(n_modalities)]))
            self.bias = nn.Parameter(torch.zeros(width))
            self.query = nn.Parameter(_xavier(width, 1).squeeze(1))
        elif self.kind == "concat":
            self.linear = nn.Linear(n_modalities * width, width)
            nn.init.xavier_normal_(self.linear.weight)
            nn.init.zeros_(self.linear.bias)

    def forward(self, views: Tensor) -> Tensor:
        """``[M, n, width]`` to ``[n, width]``."""
        if self.kind == "attention":
            views = views * self.attention(views).unsqueeze(-1)
        elif self.kind == "concat":
            return self.linear(views.transpose(0, 1).flatten(1))
        return views.sum(dim=0)

    def attention(self, views: Tensor) -> Tensor:
        """The weights ``\\alpha [M, n]`` of views ``[M, n, width]``, ``[M, 1]`` if shared; they sum to 1 over M."""
        scores = torch.tanh(views @ self.weight + self.bias) @ self.query
        if self.shares_attention:
            scores = scores[:, 1:].mean(dim=1, keepdim=True)
        return scores.softmax(dim=0)


def _xavier(*shape: int) -> Tensor:
    return nn.init.xavier_normal_(torch.empty(shape))
