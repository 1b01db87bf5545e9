"""The encoders of SiBraR (RecSys 2024): one network that all modalities share, and its first map of interactions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recbole_mm.graph import SparseOperator
from recbole_mm.nn.dropout import dropout
from recbole_mm.nn.user_embedding import id_table


class SingleBranch(nn.Module):
    """g: dropout, then linear layers with ReLU between them and batch normalisation where `norm_every` puts it.

    Args:
        widths: of the input, the hidden layers and the output.
        rate: of the dropout.
        norm_every: n > 0: after each n-th linear layer, before its ReLU, the last one included where its number is a
            multiple of n; -1: after the last one alone, before the output's activation; 0: on the output.
        output_activation: whether a ReLU follows the last layer.
    """

    def __init__(self, widths: Sequence[int], rate: float, norm_every: int, output_activation: bool):
        super().__init__()
        self.rate, self.output_activation = rate, output_activation
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in zip(widths, widths[1:], strict=False))
        numbers = range(1, len(self.layers) + 1)
        normalised = (
            {len(self.layers)} if norm_every < 1 else {number for number in numbers if number % norm_every == 0}
        )
        self.norm_is_last = norm_every == 0
        self.norms = nn.ModuleDict({str(number): nn.BatchNorm1d(widths[number]) for number in sorted(normalised)})

    def forward(self, rows: Tensor) -> Tensor:
        """Rows ``[n, widths[-1]]`` of ``[n, widths[0]]``; in training mode all share their statistics."""
        rows = dropout(rows, self.rate, self.training)
        for number, layer in enumerate(self.layers, start=1):
            is_last = number == len(self.layers)
            norm = self.norms[str(number)] if str(number) in self.norms else nn.Identity()
            rows = layer(rows)
            if not (is_last and self.norm_is_last):
                rows = norm(rows)
            if not is_last or self.output_activation:
                rows = torch.relu(rows)
            if is_last and self.norm_is_last:
                rows = norm(rows)
        return rows


class InteractionProjection(nn.Module):
    """``ReLU(W x + b)`` of interactions x as 0 and 1, by sparse products; Kaiming uniform values, b = 0 at the start.

    Args:
        n_columns: width of x, [PAD] included, whose row of the weight is zero and never used.
        width: of the result.
    """

    def __init__(self, n_columns: int, width: int):
        super().__init__()
        self.weight = id_table(n_columns, width, _kaiming)
        self.bias = nn.Parameter(torch.zeros(width))

    def sums(self, interactions: SparseOperator, rows: Tensor | None = None) -> Tensor:
        """``W x`` of some rows ``[n]`` of interactions ``[n_rows, n_columns]``, or of all: ``[n, width]``."""
        return interactions @ self.weight if rows is None else interactions.product_rows(self.weight, rows)

    def forward(self, interactions: SparseOperator, rows: Tensor | None = None) -> Tensor:
        """As :meth:`sums`, with bias and ReLU."""
        return torch.relu(self.sums(interactions, rows) + self.bias)

    def without(self, sums: Tensor, columns: Tensor, leaves_out: Tensor) -> Tensor:
        """The projection of rows ``[n, width]`` that :meth:`sums` gave, one column of some of them left out.

        Args:
            columns: the column of each row, ``[n]``.
            leaves_out: bool ``[n]``, in which rows.
        """
        left_out = F.embedding(columns, self.weight) * leaves_out[:, None]
        return torch.relu(sums - left_out + self.bias)


def contrast_of_slots(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """SInfo: cross entropies of the rows and of the columns of ``L[b] = E1[b] E2[b]^T / temperature``, added.

    Each slot of a pair is to find its own other view among the slots of the same pair.

    Args:
        first, second: both views of each slot, ``[batch, n_slots, d]``, not normalised.
    """
    logits = first @ second.transpose(1, 2) / temperature
    own = torch.arange(logits.shape[1], device=logits.device).expand(logits.shape[:2])
    return F.cross_entropy(logits, own) + F.cross_entropy(logits.transpose(1, 2), own)


def _kaiming(table: Tensor) -> Tensor:
    bound = math.sqrt(6 / len(table))
    return nn.init.uniform_(table, -bound, bound)
