"""Whether the encoder given to an analysis is the one that made the data set's features."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from recbole_mm.analysis.attribution.becam import Attribution

LIKELY_THE_SAME = 0.9  # cosine, and ratio of lengths, of features of two versions of a picture, such as a shrunk one


def doubts(results: list[Attribution], labels: list[str]) -> Iterator[str]:
    """Why the maps of a checkpoint may mean nothing, one sentence each."""
    for label in labels:
        mine = [result for result in results if result.label == label and not np.isnan(result.feature_cosine)]
        if not mine:
            yield f"{label}: no item shown has features in the data set, so that the encoder cannot be checked"
            continue
        cosine = np.median([checked.feature_cosine for checked in mine])
        if cosine < LIKELY_THE_SAME:
            yield (
                f"{label}: the encoder's features of these pictures are unlike the data set's (median cosine "
                f"{cosine:.2f}): unless it made them, the maps mean nothing"
            )
        ratio = np.median([checked.length_ratio for checked in mine])
        if not LIKELY_THE_SAME < ratio < 1 / LIKELY_THE_SAME:
            yield _of_lengths(label, ratio, np.array([checked.lengths[1] for checked in mine]))


def _of_lengths(label: str, ratio: float, data_set: np.ndarray) -> str:
    text = f"{label}: the encoder's features are {ratio:.3g} times as long as the data set's, which the model knows"
    if np.allclose(data_set, 1, atol=0.01):
        return f"{text}: those have length 1; train with normalize_feature: True, so that the encoder's get it too"
    return f"{text}: unless they are made alike, the maps mean nothing"
