"""Losses and regularisers as pure functions. The names follow the definitions that differ between code bases."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from recbole_mm.nn.log_sum_exp import sum_of_log_sum_exp
from recbole_mm.nn.normalise import l2_normalise
from recbole_mm.nn.sums import total

REDUCTIONS: dict[str, Callable[[Tensor], Tensor]] = {"sum": torch.sum, "mean": torch.mean}


def bpr_loss(margin: Tensor, reduction: str = "mean", base: float = math.e) -> Tensor:
    """Bayesian personalised ranking, ``-log sigmoid(y_ui - y_uk)`` over the batch.

    Args:
        margin: rating of the positive minus rating of the negative item, ``[batch]``.
        reduction: ``sum`` (POWERec, LayerGCN) or ``mean`` over the batch.
        base: base of the logarithm; 2 in DualGNN and DRAGON.
    """
    loss = -REDUCTIONS[reduction](F.logsigmoid(margin))
    return loss if base == math.e else loss / math.log(base)


def weak_modality_loss(margins: Tensor, reduction: str = "mean", base: float = math.e) -> Tensor:
    """BPR against the hard negative item of POWERec (Eqs. 6 to 8).

    The hard negative is the positive item with the slice of its weakest modality taken from the negative item, so that
    all other modalities cancel and the margin is the smallest modality margin. No gradient flows through the choice.

    Args:
        margins: modality margins ``d^m = y^m_ui - y^m_uk``, ``[batch, n_modalities]``.
    """
    return bpr_loss(margins.min(dim=-1).values, reduction, base)


def half_squared_sum(*rows: Tensor) -> Tensor:
    """Half the sum of squares of batch rows, not divided by their number (LayerGCN, POWERec)."""
    return 0.5 * total(row.square().sum() for row in rows)


def half_squared_per_batch(batch_size: int, *rows: Tensor) -> Tensor:
    """`half_squared_sum` over the configured batch size, also for a short last batch (LATTICE, MICRO, MGCN, SMORE)."""
    return half_squared_sum(*rows) / batch_size


def norm_per_row(*matrices: Tensor) -> Tensor:
    """Un-squared Frobenius norms, summed and divided by the rows of the last matrix (RecBole's EmbLoss)."""
    return total(matrix.norm() for matrix in matrices) / matrices[-1].shape[0]


def mean_square(*matrices: Tensor) -> Tensor:
    """Sum over the matrices of the mean of their squared entries (MMGCN, GRCN, DualGNN, DRAGON)."""
    return total(matrix.square().mean() for matrix in matrices)


def info_nce(
    anchors: Tensor, candidates: Tensor, temperature: float, ids: tuple[Tensor, Tensor] | None = None
) -> Tensor:
    """In-batch contrast of matching rows, both ``[batch, d]`` and L2-normalised here; mean over the rows.

    Args:
        ids: of the anchors and of the candidates, ``[batch]`` each, where rows of the same id are equal: the contrast
            then takes the time of the distinct rows.
    """
    scaled, candidates = l2_normalise(anchors) / temperature, l2_normalise(candidates)
    anchor_ids, candidate_ids = ids or (None, None)
    normalisers = sum_of_log_sum_exp(scaled, candidates, x_ids=anchor_ids, y_ids=candidate_ids)
    return (normalisers - (scaled * candidates).sum()) / len(scaled)


def table_contrast(
    anchors: Tensor, candidates: Tensor, positives: Tensor, ids: Tensor | None = None
) -> Tensor:
    r"""Contrast of a batch against a whole table, summed over the batch (LGMRec).

    .. math:: \sum_b -\ln \frac{e^{<a_b, c_{p_b}>}}{\sum_{j \geq 1} e^{<a_b, c_j>}}

    Row 0 of the table is [PAD] and no candidate. Nothing of size ``[batch, n]`` is held.

    Args:
        anchors: a, ``[batch, d]``, already divided by the temperature.
        candidates: c, the table ``[n, d]``.
        positives: p, ``[batch]`` row of each anchor's positive in the table, not 0.
        ids: of the anchors, ``[batch]``, where those of the same id are equal: each is then computed once.
    """
    own = F.embedding(positives, candidates)
    return sum_of_log_sum_exp(anchors, candidates[1:], x_ids=ids) - (anchors * own).sum()


def two_table_contrast(anchors: Tensor, candidates: Tensor, temperature: float) -> Tensor:
    r"""Contrast of matching rows of two tables against the other rows of both (MICRO, TKDE 2022).

    .. math::
        -\ln \frac{e(a_i, c_i)}{\sum_j e(a_i, c_j) + \sum_{j \neq i} e(a_i, a_j)}, \quad
        e(x, y) = \exp(\cos(x, y) / \tau)

    as the mean over i. Nothing of size ``[n, n]`` is held.

    Args:
        anchors: a, ``[n, d]``, without [PAD].
        candidates: c, ``[n, d]``.
        temperature: tau.
    """
    anchors, candidates = l2_normalise(anchors), l2_normalise(candidates)
    scaled = anchors / temperature
    normalisers = sum_of_log_sum_exp(scaled, torch.cat([candidates, anchors]), left_out=len(anchors))
    return (normalisers - (scaled * candidates).sum()) / len(anchors)


def smoothed_two_table_contrast(anchors: Tensor, candidates: Tensor, temperature: float) -> Tensor:
    r""":func:`two_table_contrast` of a batch's rows with ``1e-8`` added within the logarithm (MMSSL, WWW 2023).

    Rows of zeros have cosine 0 with all: n anchors of zeros give ``-ln(1 / (2 n - 1) + 1e-8)``. Holds ``[n, 2 n]``.
    """
    anchors, candidates = l2_normalise(anchors), l2_normalise(candidates)
    scaled = anchors / temperature
    own, other = (scaled @ anchors.T).exp(), (scaled @ candidates.T).exp()
    share = other.diagonal() / (own.sum(dim=1) + other.sum(dim=1) - own.diagonal())
    return -(share + 1e-8).log().mean()
