"""What papers report on the field's data sets: rows of their tables, and the settings they call best.

The files lie in ``properties/published``; the rows stand beside ours in a report, the settings go to a run.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import Any

from recbole_mm.io.yaml_files import read_settings_file
from recbole_mm.setting_rules import properties_dir

METRICS = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")


@dataclass(frozen=True)
class PublishedRow:
    """One row of a published table.

    Attributes:
        dataset: ours by the names of ``properties/dataset``.
        model: its name in the paper.
        metrics: those that are printed, of :data:`METRICS`; training items alone are masked.
        split: what was evaluated on, such as ``x_label`` (MMRec's), ``official``, ``random 8:1:1``.
        source: whose table, and what to know about it.
    """

    dataset: str
    model: str
    metrics: dict[str, float]
    split: str
    source: str


def published_rows(dataset: str | None = None, model: str | None = None) -> list[PublishedRow]:
    """The rows of a data set and model, or all; several where papers differ, nothing where none is known."""
    with (properties_dir() / "published" / "rows.csv").open(encoding="utf-8", newline="") as file:
        rows = [
            PublishedRow(
                row["dataset"],
                row["model"],
                {name: float(row[name]) for name in METRICS if row[name]},
                row["split"],
                row["source"],
            )
            for row in csv.DictReader(file)
        ]
    return [row for row in rows if dataset in (None, row.dataset) and model in (None, row.model)]


def published_settings(dataset: str, model: str) -> dict[str, Any]:
    """The settings that a model's authors call best on a data set, by our keys; empty where none are known."""
    settings = read_settings_file(properties_dir() / "published" / "settings.yaml")
    return dict(settings.get(dataset, {}).get(model, {}))
