"""Comparisons of rows: against scipy, hand calculations, and simulations whose truth is known."""

from __future__ import annotations

import gc

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_rel, wilcoxon

from recbole_mm.experiment.statistics import ALPHA, compare, resampled_differences


@pytest.fixture
def quick(monkeypatch):
    """Fewer resamples, and without the collection of garbage that statsmodels does at every correction."""
    monkeypatch.setattr("recbole_mm.experiment.statistics.RESAMPLES", 300)
    monkeypatch.setattr(gc, "collect", lambda *_: 0)


def row(values: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(values, index=[f"u{number}" for number in range(len(values))])


def simulated(generator, n_users: int, n_seeds: int, mean: float, seed_spread: float, noise: float = 0.1) -> np.ndarray:
    """Per-user values that share each seed's luck."""
    luck = generator.normal(0, seed_spread, size=(1, n_seeds))
    return mean + luck + generator.normal(0, noise, size=(n_users, n_seeds))


def test_tests_over_users_are_scipys_with_holms_correction():
    generator = np.random.default_rng(3)
    other = generator.random((40, 3))
    rows = {"a": other + generator.normal(0.05, 0.1, (40, 3)), "b": other + generator.normal(0.01, 0.1, (40, 3))}
    found = compare({label: row(values) for label, values in rows.items()}, row(other))
    means = {label: values.mean(axis=1) for label, values in rows.items()}
    for label, comparison in found.items():
        assert comparison.p_t == ttest_rel(means[label], other.mean(axis=1)).pvalue
        difference = means[label] - other.mean(axis=1)
        assert comparison.p_wilcoxon == wilcoxon(difference, zero_method="pratt", method="asymptotic").pvalue
        assert comparison.difference == pytest.approx(difference.mean())
        assert comparison.effect == pytest.approx(difference.mean() / difference.std(ddof=1))
    smaller, larger = sorted(found, key=lambda label: found[label].p_t)
    assert found[smaller].p == pytest.approx(min(1, 2 * found[smaller].p_t))
    assert found[larger].p == pytest.approx(max(found[smaller].p, found[larger].p_t))


def test_a_row_like_the_other_is_not_shown_to_differ():
    values = np.random.default_rng(0).random((30, 2))
    (found,) = compare({"same": row(values)}, row(values)).values()
    assert (found.verdict, found.p, found.p_ranks, found.effect, found.difference) == ("not shown", 1, 1, 0, 0)


@pytest.mark.parametrize("sign, verdict", [(1, "better"), (-1, "worse")])
def test_a_clear_difference_is_told(sign, verdict):
    other = np.random.default_rng(1).random((200, 3))
    (found,) = compare({"other": row(other + sign * 0.1)}, row(other)).values()
    assert found.verdict == verdict
    assert found.low <= found.difference <= found.high


def test_what_thousands_of_users_agree_on_is_not_shown_where_seeds_do_not():
    """The test over users alone is certain; another seed would turn the sign."""
    generator = np.random.default_rng(5)
    other = np.tile(generator.random((5000, 1)), (1, 3))
    luck = np.array([[0.05, -0.04, 0.02]])
    (found,) = compare({"lucky": row(other + luck + generator.normal(0, 0.001, (5000, 3)))}, row(other)).values()
    assert found.p < 1e-10
    assert found.low < 0 < found.high
    assert found.verdict == "not shown"


def test_models_that_are_tested_twice_are_compared_seed_by_seed():
    """Seeds that differ by ten times what is lost: the same models on other features lose it all the same."""
    generator = np.random.default_rng(8)
    other = simulated(generator, 400, 3, 0.5, 0.1)
    rows = {"same": row(other), "lost": row(other - 0.01 + generator.normal(0, 0.02, other.shape))}
    alone, paired = compare(rows, row(other)), compare(rows, row(other), paired=["same", "lost"])
    assert alone["lost"].low < -0.03 and alone["lost"].verdict == "not shown"
    standard_error = 0.02 / np.sqrt(3 * 400)
    width = 1.96 * np.sqrt(2) * standard_error  # noise counts once by its users and once by its seeds
    assert paired["lost"].low == pytest.approx(-0.01 - width, abs=2 * standard_error)
    assert paired["lost"].high == pytest.approx(-0.01 + width, abs=2 * standard_error)
    assert paired["lost"].verdict == "worse"
    assert (paired["same"].low, paired["same"].high, paired["same"].verdict) == (0, 0, "not shown")


def test_one_seed_shows_nothing():
    other = np.random.default_rng(1).random((200, 1))
    (found,) = compare({"other": row(other + 0.1)}, row(other)).values()
    assert found.verdict == "not shown"


def test_the_interval_covers_the_truth_as_often_as_it_says(quick):
    """200 experiments of 5 seeds and 80 users: at 95 % with a standard error of 1.5 points, and few seeds cost some."""
    generator = np.random.default_rng(11)
    covered = 0
    for number in range(200):
        values, other = (simulated(generator, 80, 5, mean, 0.02) for mean in (0.35, 0.3))
        low, high = np.quantile(resampled_differences(values, other, number), [ALPHA / 2, 1 - ALPHA / 2])
        covered += low <= 0.05 <= high
    assert 0.88 <= covered / 200 <= 0.99


def test_no_difference_is_seldom_called_one(quick):
    """Of 200 comparisons without a difference at most 5 % and three standard errors (1.5 points each)."""
    generator = np.random.default_rng(12)
    verdicts = []
    for number in range(200):
        values, other = (simulated(generator, 60, 5, 0.3, 0.02) for _ in range(2))
        (found,) = compare({"null": row(values)}, row(other), seed=number).values()
        verdicts.append(found.verdict)
    assert np.mean([verdict != "not shown" for verdict in verdicts]) <= 0.1


def test_the_detectable_difference_is_detected(quick):
    """80 % of experiments with such a difference show it; 100 of them have a standard error of 4 points."""
    generator = np.random.default_rng(13)
    null = [simulated(generator, 100, 10, 0.3, 0.01) for _ in range(2)]
    (measured,) = compare({"null": row(null[0])}, row(null[1])).values()
    shown = []
    for number in range(100):
        values = simulated(generator, 100, 10, 0.3 + measured.detectable, 0.01)
        (found,) = compare({"gain": row(values)}, row(simulated(generator, 100, 10, 0.3, 0.01)), number).values()
        shown.append(found.verdict == "better")
    assert 0.65 <= np.mean(shown) <= 0.97


def test_rows_of_other_users_are_refused():
    values = np.ones((3, 2))
    with pytest.raises(ValueError, match="alone was tested on other users"):
        compare({"alone": pd.DataFrame(values, index=["a", "b", "c"])}, row(values))
