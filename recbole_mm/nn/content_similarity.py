"""Similarities of items by their features, exact, in blocks: no more than a few hundred rows at a time are in float64.

Arrays here are without the row of [PAD]: item i of RecBole's is row i - 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import scipy.sparse as sp

BLOCK_ROWS = 512


class UnitRows:
    """The features of one modality, centred and scaled to length 1, a block at a time.

    The columns' means are those of the items that have features; an item without any has a row of zeros, and so has
    one that equals the mean.

    Args:
        feature: ``[n, width]``, any floating type.
        present: bool ``[n]``, which items have features.
        center: subtract the columns' means.
    """

    def __init__(self, feature: np.ndarray, present: np.ndarray, center: bool = True):
        self._feature, self.present = feature, present
        self.shape = feature.shape
        total = sum(part.sum(axis=0, dtype=np.float64) for part in self._parts(feature))
        self._mean = total / max(1, int(present.sum())) if center else np.zeros(feature.shape[1])
        self._inverse_norms = np.zeros(len(feature))
        for start, stop in blocks(len(feature)):
            norms = np.linalg.norm(feature[start:stop] - self._mean, axis=1)
            usable = present[start:stop] & (norms > 0)
            self._inverse_norms[start:stop][usable] = 1 / norms[usable]

    def _parts(self, feature: np.ndarray) -> Iterator[np.ndarray]:
        return (feature[start:stop][self.present[start:stop]] for start, stop in blocks(len(feature)))

    @property
    def has_direction(self) -> np.ndarray:
        """Bool ``[n]``: which rows have length 1 and not 0."""
        return self._inverse_norms > 0

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Rows of length 1, or 0, float64 ``[stop - start, width]``."""
        return (self._feature[start:stop] - self._mean) * self._inverse_norms[start:stop, None]

    def all(self) -> np.ndarray:
        """All rows, float64 ``[n, width]``."""
        return self.rows(0, len(self._feature))

    def cosines(self, start: int, stop: int, first: int = 0) -> np.ndarray:
        """Cosines of some items with those from `first` on, float64 ``[stop - start, n - first]``."""
        own = self.rows(start, stop)
        found = np.empty((stop - start, len(self._feature) - first))
        for begin, end in blocks(len(self._feature), first):
            found[:, begin - first : end - first] = own @ self.rows(begin, end).T
        return found


def blocks(n: int, first: int = 0) -> Iterator[tuple[int, int]]:
    """Start and end of each block of rows `first` to `n`."""
    return ((start, min(start + BLOCK_ROWS, n)) for start in range(first, n, BLOCK_ROWS))


def weighted_cosines(parts: Sequence[UnitRows], weights: Sequence[float], start: int, stop: int) -> np.ndarray:
    """``S_ij = sum_m w_m C^m_ij``, the weights of each pair being those of the modalities that both items have.

    They are scaled to the sum 1 for each pair; a pair that has none in common has 0.

    Args:
        parts: of each modality.
        weights: at least 0, one per modality.
        start, stop: the items i; j goes over all.

    Returns:
        float64 ``[stop - start, n]``.
    """
    total = np.zeros((stop - start, parts[0].shape[0]))
    common = np.zeros_like(total)
    for part, weight in zip(parts, weights, strict=True):
        total += weight * part.cosines(start, stop)
        common += weight * np.outer(part.present[start:stop], part.present)
    return np.divide(total, common, out=np.zeros_like(total), where=common > 0)


def largest_cosines(parts: Sequence[UnitRows], start: int, stop: int) -> np.ndarray:
    """``max_m C^m_ij`` over the modalities that both items have; a pair that has none in common has 0.

    Arguments and result as :func:`weighted_cosines`.
    """
    best = np.full((stop - start, parts[0].shape[0]), -np.inf)
    for part in parts:
        both = np.outer(part.present[start:stop], part.present)
        np.maximum(best, part.cosines(start, stop), out=best, where=both)
    return np.where(np.isneginf(best), 0.0, best)


class HybridRows:
    """Each item's column of interactions beside its content (CFCBF): ``[A_:i ; scale * sqrt(w_m) f^m_i, ...]``.

    Args:
        history: A, the interactions as 0 and 1, ``[n_users, n]``.
        parts: f, the modalities.
        weights: w, at least 0, one per modality.
        scale: of the content.
    """

    def __init__(self, history: sp.csr_matrix, parts: Sequence[UnitRows], weights: Sequence[float], scale: float):
        self._by_item, self._columns = history.T.tocsr(), history.tocsc()
        self._parts = parts
        self._weights = [scale**2 * weight for weight in weights]
        squares = np.diff(self._columns.indptr).astype(np.float64)
        for part, weight in zip(parts, self._weights, strict=True):
            squares += weight * part.has_direction
        self._norms = np.sqrt(squares)

    def cosines(self, start: int, stop: int, shrink: float) -> np.ndarray:
        """``<c_i, c_j> / (|c_i| |c_j| + shrink)`` of some items with all; a pair whose divisor is 0 has 0."""
        products = (self._by_item[start:stop] @ self._columns).toarray().astype(np.float64)
        for part, weight in zip(self._parts, self._weights, strict=True):
            products += weight * part.cosines(start, stop)
        return _shrunk(products, self._norms, shrink, start, stop)


def shrunk_cosines(features: Sequence[np.ndarray], shrink: float, start: int, stop: int) -> np.ndarray:
    """``<f_i, f_j> / (|f_i| |f_j| + shrink)`` of features side by side, neither centred nor scaled.

    Args:
        features: ``[n, width]`` of each modality.
        shrink: at least 0; a pair whose divisor is 0 has 0.
        start, stop: as in :func:`weighted_cosines`.
    """
    n = len(features[0])
    norms = np.sqrt(sum(_squares(feature) for feature in features))
    products = np.zeros((stop - start, n))
    for feature in features:
        own = feature[start:stop].astype(np.float64)
        for begin, end in blocks(n):
            products[:, begin:end] += own @ feature[begin:end].astype(np.float64).T
    return _shrunk(products, norms, shrink, start, stop)


def _shrunk(products: np.ndarray, norms: np.ndarray, shrink: float, start: int, stop: int) -> np.ndarray:
    """Products of some rows with all over the products of their norms and `shrink`; 0 where that is 0."""
    divisors = np.outer(norms[start:stop], norms) + shrink
    return np.divide(products, divisors, out=np.zeros_like(products), where=divisors > 0)


def _squares(feature: np.ndarray) -> np.ndarray:
    parts = [np.square(feature[start:stop], dtype=np.float64).sum(axis=1) for start, stop in blocks(len(feature))]
    return np.concatenate(parts)
