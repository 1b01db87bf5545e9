"""Published rows of a data set, with ours of the same models among them."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from recbole_mm.experiment.results import DatasetResults
from recbole_mm.experiment.sections import Section
from recbole_mm.published import METRICS, PublishedRow, published_rows

_NOTE = (
    "What papers and their authors' code report on this data set. Their splits, features and ways of choosing differ "
    "from one another and from ours, as the last columns and docs/protocol.md say: a difference to such a row is no "
    "comparison of models."
)


def published_sections(results: DatasetResults) -> Iterator[Section]:
    """One table, of the metrics that both have; none where nothing is published or measured alike."""
    published = published_rows(results.dataset)
    metrics = [name for name in METRICS if name in results.tables.metrics]
    published = [row for row in published if row.metrics.keys() & set(metrics)]
    if not published:
        return
    own = {label: str(runs["model"].iloc[0]) for label, runs in results.rows.items()}
    models = list(dict.fromkeys([*own.values(), *(row.model for row in published)]))
    lines = []
    for model in models:
        lines += [_own_row(results, label, metrics) for label, name in own.items() if name == model]
        lines += [_published_row(row, metrics) for row in published if row.model == model]
    name = f"{results.dataset}-published"
    yield Section(results.dataset, name, "Beside published rows", _NOTE, pd.DataFrame(lines), is_folded=True)


def _own_row(results: DatasetResults, label: str, metrics: list[str]) -> dict[str, object]:
    runs = results.rows[label]
    values = {name: f"{runs[f'test_{name}'].mean():.4f}" for name in metrics}
    return {"row": label, **values, "split": "ours", "source": f"this report, seeds: {len(runs)}"}


def _published_row(row: PublishedRow, metrics: list[str]) -> dict[str, object]:
    values = {name: f"{row.metrics[name]:.4f}" if name in row.metrics else "" for name in metrics}
    return {"row": row.model, **values, "split": row.split, "source": row.source}
