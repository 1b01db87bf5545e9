"""Item-item ridge regression without the own column (EASE, Steck 2019), solved in place.

Arrays here are without the row of [PAD]: item i of RecBole's is row i - 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp
from scipy.linalg import cholesky, solve_triangular
from scipy.linalg.lapack import dpotrf, dpotri

from recbole_mm.nn.content_similarity import UnitRows, blocks

MOST_ITEMS = 40_000


class SingularMatrix(ValueError):
    """The matrix to invert has no inverse, or none that float64 can tell."""


def gram_matrix(history: sp.csr_matrix, parts: Sequence[UnitRows], weight: float, ridge: float) -> np.ndarray:
    """``X^T X + weight * sum_m C^m + ridge * I``, of which only the part on and above the diagonal is filled.

    Args:
        history: X, the interactions as 0 and 1, ``[n_users, n]``.
        parts: the modalities, whose ``F^T F`` is ``C^m``.
        weight: of the modalities.
        ridge: on the diagonal.

    Returns:
        float64 ``[n, n]``, the only large array.
    """
    n = history.shape[1]
    by_item, columns = history.T.tocsr(), history.tocsc()
    gram = np.zeros((n, n))
    for start, stop in blocks(n):
        gram[start:stop, start:] = (by_item[start:stop] @ columns[:, start:]).toarray()
        for part in parts:
            gram[start:stop, start:] += weight * part.cosines(start, stop, first=start)
    gram[np.diag_indices(n)] += ridge
    return gram


def invert(gram: np.ndarray) -> np.ndarray:
    """The inverse of a positive definite matrix in its own memory: the sweep operator, a block of rows at a time.

    LAPACK's own factorisation of the whole matrix is not called: OpenBLAS 0.3.30 ends the process in it at 23,033 rows
    and two threads. With a block K of rows, P the inverse of its diagonal block and B its rows elsewhere, a sweep makes
    the diagonal block -P, the rows PB and all other entries less by ``B^T P B``; after all of them the matrix is minus
    its inverse.

    Args:
        gram: float64 ``[n, n]``, of which the part on and above the diagonal is read; it is overwritten.

    Raises:
        SingularMatrix: it is not positive definite, or its condition number is beyond float64.
        OverflowError: it has entries beyond float64.
    """
    n, norm = len(gram), _norm(gram)
    if not np.isfinite(norm):
        raise OverflowError
    for start, stop in blocks(n):
        _sweep(gram, start, stop)
    if not norm * _norm(gram) * n * np.finfo(np.float64).eps < 1:
        raise SingularMatrix
    for start, stop in blocks(n):
        np.negative(gram[start:stop, start:], out=gram[start:stop, start:])
        square = gram[start:stop, start:stop]
        square[:] = np.triu(square) + np.triu(square, 1).T
        gram[stop:, start:stop] = gram[start:stop, stop:].T
    return gram


def _sweep(gram: np.ndarray, start: int, stop: int) -> None:
    """Sweep the rows from `start` to `stop` of a symmetric matrix given on and above its diagonal."""
    factor, failed = dpotrf(gram[start:stop, start:stop], lower=0)
    if failed:
        raise SingularMatrix
    pivot, _ = dpotri(factor, lower=0)
    pivot = np.triu(pivot) + np.triu(pivot, 1).T
    rows = np.concatenate([gram[:start, start:stop].T, gram[start:stop, start:]], axis=1)
    rows[:, start:stop] = 0.0
    solved = pivot @ rows
    for begin, end in blocks(len(gram)):
        gram[begin:end, begin:] -= solved[:, begin:end].T @ rows[:, begin:]
    gram[:start, start:stop] = solved[:, :start].T
    gram[start:stop, stop:] = solved[:, stop:]
    gram[start:stop, start:stop] = -pivot


def _norm(gram: np.ndarray) -> float:
    """The largest column sum of absolute values, from the part on and above the diagonal."""
    sums = np.zeros(len(gram))
    for start, stop in blocks(len(gram)):
        part = np.abs(gram[start:stop, start:])
        part[:, : stop - start] = np.triu(part[:, : stop - start])
        sums[start:stop] += part.sum(axis=1)
        sums[start:] += part.sum(axis=0)
    sums -= np.abs(np.diagonal(gram))
    return float(sums.max(initial=0.0))


def ease_weights(inverse: np.ndarray) -> np.ndarray:
    """``B_ij = -P_ij / P_jj`` with a diagonal of zeros, in the memory of P ``[n, n]``."""
    inverse /= -np.diagonal(inverse).copy()
    np.fill_diagonal(inverse, 0.0)
    return inverse


def add_content_weights(weights: np.ndarray, parts: Sequence[UnitRows], ridge: float, share: float) -> None:
    """Add ``share`` times the :func:`ease_weights` of features alone to `weights` ``[n, n]``, in blocks.

    With F ``[n, width]`` and ``V = F L^-T``, where ``L L^T = F^T F + ridge I``, Woodbury's identity makes
    ``(F F^T + ridge I)^-1`` the matrix ``(I - V V^T) / ridge``.

    Args:
        weights: changed in place.
        parts: the modalities, side by side in F.
        ridge: above 0.
        share: of what is added.
    """
    features = np.concatenate([part.all() for part in parts], axis=1)
    covariance = features.T @ features
    covariance[np.diag_indices(len(covariance))] += ridge
    vectors = solve_triangular(cholesky(covariance, lower=True), features.T, lower=True, check_finite=False).T
    divisors = 1 - np.square(vectors).sum(axis=1)
    for start, stop in blocks(len(weights)):
        part = vectors[start:stop] @ vectors.T / divisors
        part[np.arange(stop - start), np.arange(start, stop)] = 0.0
        weights[start:stop] += share * part
