"""Figures of `analyse modality-weights`: histograms, and contact sheets of the items at either end."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np

from recbole_mm.analysis.contact_sheet import Card, write_contact_sheet
from recbole_mm.analysis.figures import described, panel_title
from recbole_mm.analysis.modality_weights.page import ItemSection
from recbole_mm.analysis.modality_weights.weight_tables import ExtremeItem, ModalityWeights

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

EDGES = np.linspace(0, 1, 51)  # bins of 0.02


def histograms(tables: list[ModalityWeights]) -> Figure:
    """One panel per modality, all checkpoints overlaid."""
    from matplotlib.figure import Figure

    modalities = list(dict.fromkeys(name for weights in tables for name in weights.modalities))
    figure = Figure(figsize=(4.8 * len(modalities), 3.6 + 0.2 * len(tables)), layout="constrained")
    for axis, modality in zip(figure.subplots(1, len(modalities), squeeze=False)[0], modalities, strict=True):
        for weights in tables:
            if modality in weights.modalities:
                _draw_histogram(axis, weights, weights.column(modality))
        panel_title(axis, modality, 4.8)
        axis.set(xlim=(0, 1), xlabel="modality weight", ylabel=f"share of {_counted(tables)}")
        # below, because weights can gather anywhere in the panel
        axis.legend(fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.16), frameon=False)
    return figure


def _draw_histogram(axis: Axes, weights: ModalityWeights, column: np.ndarray) -> None:
    label = described(fill(weights.label, 50), column, *_mean_and_spread(column))
    if weights.of == "user":
        label += " (user weights)"
    shares = np.histogram(column, EDGES)[0] / max(len(column), 1)
    line = axis.stairs(shares, EDGES, linewidth=1.5, label=label)
    axis.stairs(shares, EDGES, fill=True, alpha=0.2, color=line.get_edgecolor())


def _mean_and_spread(column: np.ndarray) -> list[str]:
    return [f"mean {column.mean():.3f}", f"SD {column.std():.3f}"] if len(column) else []


def _counted(tables: list[ModalityWeights]) -> str:
    return " or ".join(f"{of}s" for of in dict.fromkeys(weights.of for weights in tables))


def item_section(label: str, items: list[ExtremeItem], sheet: Path) -> ItemSection:
    """What the page shows of a checkpoint's items; writes the contact sheet, if there is a picture to show."""
    if not any(item.picture for item in items):
        return ItemSection(label, items, [], [])
    rows = [
        (
            f"{modality}: {end}",
            [
                Card(extreme.title or extreme.item, f"{extreme.weight:.3f}", extreme.picture, extreme.text)
                for extreme in row
            ],
        )
        for (modality, end), row in groupby(items, key=lambda extreme: (extreme.modality, extreme.end))
    ]
    return ItemSection(label, items, *write_contact_sheet(sheet, rows))
