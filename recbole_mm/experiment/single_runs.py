"""The tables of single trained models, whose chance is that of the test users alone."""

from __future__ import annotations

import numpy as np
import pandas as pd

from recbole_mm.experiment.results import DatasetResults
from recbole_mm.experiment.sections import SHOWN, Section, best_marks
from recbole_mm.experiment.statistics import ALPHA, Comparison, resampled_differences
from recbole_mm.experiment.warnings import warnings_of


def headline_section(results: DatasetResults) -> Section:
    """Test metrics, the interval of the main one under resampling of the users, and what tells of a collapse."""
    metrics = results.tables.metrics
    means = pd.DataFrame([{name: runs[f"test_{name}"].iloc[0] for name in metrics} for runs in results.rows.values()])
    lines = []
    for (label, runs), (_, own) in zip(results.rows.items(), means.iterrows(), strict=True):
        values = results.tables.values(runs, results.metric).to_numpy(float)
        low, high = np.quantile(resampled_differences(values, np.zeros_like(values)), [ALPHA / 2, 1 - ALPHA / 2])
        texts = {name: f"{value:.4f}" for name, value in own.items()}
        lines.append(
            {
                "row": label,
                **texts,
                f"interval of {results.metric}": f"[{low:.4f}, {high:.4f}]",
                "best epoch": runs["best_epoch"].iloc[0] or "",
                "top share": f"{results.beyond[label]['top share'].iloc[0]:.0%}",
                "warnings": "; ".join(warnings_of(results, label)),
            }
        )
    note = f"{len(values)} test users."
    name = f"{results.dataset}-test"
    return Section(results.dataset, name, "Test metrics", note, pd.DataFrame(lines), best_marks(means))


def differences_section(results: DatasetResults, base: str) -> Section:
    """Every other model against one, in the main metric."""
    found, lines, marks = results.against(base), [], {}
    difference = f"difference of {results.metric}"
    for number, (label, comparison) in enumerate(found.items()):
        word = _word(comparison)
        if word == "better":
            marks[number, difference] = {SHOWN}
        lines.append(
            {
                "row": label,
                difference: f"{comparison.difference:+.4f} ({comparison.relative:+.1%})",
                "interval": f"[{comparison.low:+.4f}, {comparison.high:+.4f}]",
                "p (t)": f"{comparison.p:.2g}",
                "p (Wilcoxon)": f"{comparison.p_ranks:.2g}",
                "effect": f"{comparison.effect:+.3f}",
                "would show": f"{comparison.detectable:.4f}",
                "these weights": word,
            }
        )
    note = "Paired over the test users; p after Holm's correction over the rows of this table."
    return Section(results.dataset, f"{results.dataset}-{base}", f"Against {base}", note, pd.DataFrame(lines), marks)


def _word(comparison: Comparison) -> str:
    """As of an experiment's verdict, of these weights alone."""
    if comparison.p >= ALPHA or comparison.low <= 0 <= comparison.high:
        return "not shown"
    return "better" if comparison.difference > 0 else "worse"
