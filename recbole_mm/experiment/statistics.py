"""Whether one row is better than another: over users and seeds together, corrected for how many rows are compared.

Users and seeds are two sources of chance. A test over users alone finds differences that another seed would not show;
the spread of a few seeds alone overlooks what thousands of users agree on. The interval here resamples both, and a row
is called better or worse where that interval leaves zero out and the paired test over users, after Holm's correction,
is below :data:`ALPHA`. So the words and the p-values on a page cannot contradict each other.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from scipy.stats import norm, ttest_rel, wilcoxon
from statsmodels.stats.multitest import multipletests

ALPHA, POWER = 0.05, 0.8
RESAMPLES = 2000
_BLOCK = 100  # resamples at a time: users x block values in memory
LEAST_SEEDS = 3


@dataclass(frozen=True)
class Comparison:
    """One row against another in one metric.

    Attributes:
        difference: mean of the row less that of the other, over seeds and users.
        relative: the same as a share of the other's mean.
        low, high: interval of the difference, of confidence 1 - :data:`ALPHA`, over users and seeds.
        p_t, p_wilcoxon: paired tests over users of their means over seeds, as they are.
        p: ``p_t`` after Holm's correction over all comparisons of the table.
        p_ranks: ``p_wilcoxon`` after the same.
        effect: mean over users of the difference by its standard deviation.
        detectable: the smallest difference that this many users and seeds show with a probability of :data:`POWER`.
        seeds: of the row and of the other.
        verdict: ``better``, ``worse`` or ``not shown``.
    """

    difference: float
    relative: float
    low: float
    high: float
    p_t: float
    p_wilcoxon: float
    p: float
    p_ranks: float
    effect: float
    detectable: float
    seeds: tuple[int, int]
    verdict: str


Label = TypeVar("Label", bound=Hashable)


def compare(
    rows: dict[Label, pd.DataFrame], other: pd.DataFrame, seed: int = 0, paired: Collection[Label] = ()
) -> dict[Label, Comparison]:
    """Compare rows with another in one metric.

    Args:
        rows: by label, values of the metric ``[n_users, n_seeds]``, users in the index.
        other: what they are compared with, likewise.
        seed: of the resampling.
        paired: labels of rows whose runs are the other's, seed by seed, such as its models on other features.

    Raises ValueError where a row has no user in common with the other.
    """
    measured = {
        label: _measure(*_common(label, values, other), seed, label in paired) for label, values in rows.items()
    }
    if not measured:
        return {}
    corrected = {
        name: multipletests([result[name] for result in measured.values()], ALPHA, method="holm")[1]
        for name in ("p_t", "p_wilcoxon")
    }
    detectable = norm.isf(ALPHA / len(rows) / 2) + norm.isf(1 - POWER)
    found = {}
    for number, (label, comparison) in enumerate(measured.items()):
        p, p_ranks = float(corrected["p_t"][number]), float(corrected["p_wilcoxon"][number])
        error = comparison.pop("error")
        found[label] = Comparison(
            **comparison, p=p, p_ranks=p_ranks, detectable=float(detectable * error), verdict=_verdict(comparison, p)
        )
    return found


def _common(label: Hashable, values: pd.DataFrame, other: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    users = values.index.intersection(other.index)
    if users.empty:
        raise ValueError(f"{label} was tested on other users than the row it is compared with")
    return values.loc[users].to_numpy(float), other.loc[users].to_numpy(float)


def _measure(values: np.ndarray, other: np.ndarray, seed: int, is_paired: bool = False) -> dict[str, Any]:
    """Everything about two rows ``[n_users, n_seeds]`` that does not depend on further rows."""
    by_user = values.mean(axis=1) - other.mean(axis=1)
    difference, deviation = float(by_user.mean()), float(by_user.std(ddof=1)) if len(by_user) > 1 else 0.0
    # of pairs the differences themselves are drawn: what a seed gives to both cancels
    left, right = (values - other, np.zeros((len(other), 1))) if is_paired else (values, other)
    resampled = resampled_differences(left, right, seed)
    low, high = np.quantile(resampled, [ALPHA / 2, 1 - ALPHA / 2])
    differs = bool(np.any(by_user != 0)) and len(by_user) > 1
    return {
        "difference": difference,
        "relative": difference / float(other.mean()) if other.mean() else float("nan"),
        "low": float(low),
        "high": float(high),
        "p_t": float(ttest_rel(values.mean(axis=1), other.mean(axis=1)).pvalue) if differs and deviation else 1.0,
        "p_wilcoxon": float(wilcoxon(by_user, zero_method="pratt", method="asymptotic").pvalue) if differs else 1.0,
        "effect": difference / deviation if deviation else 0.0,
        "error": float(resampled.std(ddof=1)),
        "seeds": (values.shape[1], other.shape[1]),
    }


def resampled_differences(values: np.ndarray, other: np.ndarray, seed: int = 0) -> np.ndarray:
    """Differences of the means of two rows under resampling of users, the same for both, and of the seeds of each.

    Few seeds, drawn with replacement, vary by a share of (n - 1) / n too little; their deviations are stretched by it.

    Args:
        values, other: ``[n_users, n_seeds]``; the numbers of seeds may differ.
        seed: of the drawing.

    Returns:
        ``[RESAMPLES]``.
    """
    generator = np.random.default_rng(seed)
    n_users, found = len(values), []
    for start in range(0, RESAMPLES, _BLOCK):
        size = min(_BLOCK, RESAMPLES - start)
        weights = generator.multinomial(n_users, np.full(n_users, 1 / n_users), size=size) / n_users
        means = [_draw_seeds(weights @ row, generator) for row in (values, other)]
        found.append(means[0] - means[1])
    return np.concatenate(found)


def _draw_seeds(means: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Mean over seeds drawn with replacement of ``[n_resamples, n_seeds]``."""
    n_seeds = means.shape[1]
    if n_seeds == 1:
        return means[:, 0]
    centre = means.mean(axis=1, keepdims=True)
    stretched = centre + np.sqrt(n_seeds / (n_seeds - 1)) * (means - centre)
    drawn = generator.integers(n_seeds, size=means.shape)
    return np.take_along_axis(stretched, drawn, axis=1).mean(axis=1)


def _verdict(comparison: dict[str, Any], p: float) -> str:
    is_shown = (
        p < ALPHA and not comparison["low"] <= 0 <= comparison["high"] and min(comparison["seeds"]) >= LEAST_SEEDS
    )
    if not is_shown:
        return "not shown"
    return "better" if comparison["difference"] > 0 else "worse"
