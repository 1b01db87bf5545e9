r"""Whether features know held-out interactions: the leak sentinel of audits.

Similarities of items by their features are compared with similarities by who interacts with them, once in the training
interactions, A, and once in all, B, in several views of co-occurrence. Features made from all interactions follow a
view of B where A says nothing (the partial correlation of the features' ranks with B's given A's is high) and add
nothing to A given B; features of training interactions alone do the opposite; content, made from neither, follows both
a little. So the excess of the first over the second tells them apart:

.. math::
    T = \max_v \rho(F, B_v \mid A_v) - \max_v \rho(F, A_v \mid B_v)

It sees what is close to a function of co-occurrence: counts, weights of them, their factors, with noise or beside
content. It cannot see a leak that is small beside noise or content; it takes content that all but decides who likes an
item for a leak; and it cannot tell where the held-out interactions change the similarities too little, which a leak of
its own making on the same data shows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix, diags_array
from scipy.sparse.linalg import svds
from scipy.stats import rankdata

BOUND = 0.14  # of the excess: above it no content was, below it few leaks (benchmarks/results/sentinel-lfm2k.md)
LEAST_ROWS = 5  # training interactions of an item whose similarities say something
LEAST_ITEMS = 100
MOST_ITEMS = 800  # a random part of more: half a million pairs say enough
_ALIKE = 1 - 1e-9  # correlation of a view of A and of B of which one says nothing beyond the other
_N_FACTORS, _NOISE = 64, 0.7  # of the leak that shows what this data can show

Floats = npt.NDArray[np.float64]
Verdict = Literal["found", "not found", "cannot tell"]


@dataclass(frozen=True)
class Leak:
    """What the sentinel says of one modality.

    Attributes:
        of_all: largest partial correlation with a view of all interactions, given that of the training ones.
        of_training: the other way round.
        reference: :attr:`excess` of factors of all interactions with noise, on the same items.
        n_items: that were compared.
    """

    of_all: float
    of_training: float
    reference: float
    n_items: int

    @property
    def excess(self) -> float:
        """T, from -1 to 1."""
        return self.of_all - self.of_training

    @property
    def is_measured(self) -> bool:
        """Whether there were items enough to compare."""
        return self.n_items >= LEAST_ITEMS

    @property
    def verdict(self) -> Verdict:
        """``cannot tell`` where a leak of factors would not be found either, or too few items could be compared."""
        if self.is_measured and self.excess > BOUND:
            return "found"
        return "not found" if self.is_measured and self.reference > BOUND else "cannot tell"

    @property
    def why(self) -> str:
        """What a verdict that is none lacks; empty of the others."""
        if self.verdict != "cannot tell":
            return ""
        if not self.is_measured:
            return f"{self.n_items} items have features and {LEAST_ROWS} training interactions; it takes {LEAST_ITEMS}"
        return (
            f"the held-out interactions change too little: a leak made of all has T {self.reference:.2f} on this data, "
            f"and is found from {BOUND} on"
        )


def find_leaks(
    training: csr_matrix, all_interactions: csr_matrix, features: Mapping[str, np.ndarray], seed: int = 0
) -> dict[str, Leak]:
    """What each modality's features know of the interactions that are not among the training ones.

    Args:
        training: ``[n_items, n_users]`` of 0 and 1.
        all_interactions: the same with those of validation and test.
        features: ``[n_items, d]`` of each modality; rows that are no finite numbers are of items without.
        seed: of the items that are compared, and of the reference's noise; what is said of a modality does not depend
            on which others there are.
    """
    enough = np.asarray(training.sum(axis=1)).ravel() >= LEAST_ROWS
    order = np.random.default_rng(seed).permutation(training.shape[0])
    made: dict[bytes, tuple[Views, float]] = {}  # modalities that the same items have share their views
    found = {}
    for name, table in features.items():
        items = np.sort(order[(enough & np.isfinite(table).all(axis=1))[order]][:MOST_ITEMS])
        if len(items) < LEAST_ITEMS:
            found[name] = Leak(0.0, 0.0, 0.0, len(items))
            continue
        if items.tobytes() not in made:
            views = Views(training[items], all_interactions[items])
            reference = views.partials(noisy_factors(all_interactions[items], np.random.default_rng(seed)))
            made[items.tobytes()] = views, reference[0] - reference[1]
        views, shown = made[items.tobytes()]
        found[name] = Leak(*views.partials(table[items]), shown, len(items))
    return found


class Views:
    """The similarities of some items in the training and in all interactions, as ranks over pairs of items.

    Args:
        training: ``[n, n_users]``.
        all_interactions: the same shape.
    """

    def __init__(self, training: csr_matrix, all_interactions: csr_matrix):
        self._pairs = np.triu_indices(training.shape[0], 1)
        self._views = []
        for before, after in zip(similarities(training), similarities(all_interactions), strict=True):
            a, b = self._ranks(before), self._ranks(after)
            between = float(a @ b)
            if between < _ALIKE:
                self._views.append((a, b, between))

    def partials(self, features: np.ndarray) -> tuple[float, float]:
        """Largest partial correlation of features' similarities with all given training, and the other way round."""
        ranks = self._ranks(cosines(features))
        of_all, of_training = [0.0], [0.0]
        for before, after, between in self._views:
            a, b = float(ranks @ before), float(ranks @ after)
            of_all.append(_partial(b, a, between))
            of_training.append(_partial(a, b, between))
        return max(of_all), max(of_training)

    def _ranks(self, similarity: Floats) -> Floats:
        """Of unit length around their mean, so that a product of two is their correlation; zeros if all are alike."""
        ranks = rankdata(similarity[self._pairs])
        ranks -= ranks.mean()
        return ranks / max(float(np.linalg.norm(ranks)), 1e-12)


def _partial(first: float, second: float, between: float) -> float:
    left = (1 - second**2) * (1 - between**2)
    return 0.0 if left < 1e-12 else (first - second * between) / left**0.5


def similarities(interactions: csr_matrix) -> Iterator[Floats]:
    """``[n, n]`` by nine views of who interacts with the items of ``[n, n_users]``."""
    views = cooccurrence_views(interactions)
    yield from (cosines(rows) for rows in views.values())
    yield from (views["cosine"], views["ppmi"])
    yield cosines(interactions.toarray())
    yield cosines(normalised_both_ways(interactions).toarray())


def cooccurrence_views(interactions: csr_matrix) -> dict[str, Floats]:
    """Weights of pairs of items ``[n, n]`` by name: what features of co-occurrence are usually made of."""
    counts = (interactions @ interactions.T).toarray().astype(np.float64)
    n_rows = np.asarray(interactions.sum(axis=1)).ravel()
    np.fill_diagonal(counts, 0)
    totals = np.maximum(counts.sum(axis=1), 1e-9)
    with np.errstate(divide="ignore"):
        information = np.log(counts * counts.sum() / np.outer(totals, totals))
    return {
        "counts": counts,
        "cosine": counts / np.sqrt(np.maximum(np.outer(n_rows, n_rows), 1)),
        "log": np.log1p(counts),
        "ppmi": np.maximum(information, 0),
        "by row": counts / np.maximum(totals, 1)[:, None],
    }


def normalised_both_ways(interactions: csr_matrix) -> csr_matrix:
    """Divided by the roots of both degrees, as in graph convolutions."""
    items, users = (np.asarray(interactions.sum(axis=axis)).ravel() for axis in (1, 0))
    of_items, of_users = (diags_array(np.maximum(degrees, 1) ** -0.5) for degrees in (items, users))
    return csr_matrix(of_items @ interactions @ of_users)


def noisy_factors(interactions: csr_matrix, generator: np.random.Generator) -> Floats:
    """Factors of the positive mutual information of items' co-occurrence, with noise of .7 their length."""
    rows = cooccurrence_views(interactions)["ppmi"]
    left, sizes, _ = svds(rows, k=min(_N_FACTORS, len(rows) - 1), random_state=generator)
    return unit_rows(left * sizes) + _NOISE * unit_rows(generator.normal(size=left.shape))


def cosines(rows: np.ndarray) -> Floats:
    """Between all rows, around their mean."""
    rows = np.asarray(rows, dtype=np.float64)
    rows = unit_rows(rows - rows.mean(axis=0))
    return rows @ rows.T


def unit_rows(rows: Floats) -> Floats:
    """Of length 1; zeros stay."""
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
