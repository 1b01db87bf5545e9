"""Areas under the deletion and insertion curves: per item, and their mean and spread over items."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from recbole_mm.analysis.attribution.becam import RANKINGS, SCORES, Attribution
from recbole_mm.analysis.attribution.score_cam import area_under


def areas(result: Attribution) -> np.ndarray:
    """Areas ``[2, 5, 2]``, in the orders of PERTURBATIONS, RANKINGS and SCORES."""
    return area_under(torch.from_numpy(result.curves)).numpy()


def area_rows(results: list[Attribution], titles: dict[str, str]) -> Iterator[list[Any]]:
    """One row per checkpoint, item, map and score."""
    for result in results:
        deletion, insertion = areas(result)
        for ranking, name in enumerate(RANKINGS):
            for score, of in enumerate(SCORES):
                whole = result.cosines[score]
                numbers = [whole, deletion[ranking, score], insertion[ranking, score]]
                yield [result.label, result.item, titles.get(result.item, ""), name, of, *numbers]


def summary_rows(results: list[Attribution], labels: list[str]) -> Iterator[list[Any]]:
    """Mean and standard deviation (of a sample; NaN for one item) over the items, per checkpoint, map and score."""
    for label in labels:
        mine = np.stack([areas(result) for result in results if result.label == label])
        spread = mine.std(axis=0, ddof=1) if len(mine) > 1 else np.full(mine.shape[1:], np.nan)
        mean = mine.mean(axis=0)
        for ranking, name in enumerate(RANKINGS):
            for score, of in enumerate(SCORES):
                numbers = (statistic[which, ranking, score] for which in (0, 1) for statistic in (mean, spread))
                yield [label, name, of, len(mine), *numbers]
