"""Figures of `analyse feature-drift`: distributions of cosines, and the pictures of the most changed items."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recbole_mm.analysis.contact_sheet import Card, write_contact_sheet
from recbole_mm.analysis.feature_drift.drift import COSINES, PARTS, Drift
from recbole_mm.analysis.figures import count_upwards, described, figure_files, panel_title

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EDGES = np.linspace(-1, 1, 81)  # bins of 0.025
WIDTH = 4.6  # inches of a panel
STYLES: tuple[dict[str, Any], ...] = (  # what is before lies thin on what is after, and is seen where they are the same
    {"color": "tab:blue", "linewidth": 1.2, "zorder": 3},
    {"color": "tab:orange", "linewidth": 3.0, "zorder": 2, "alpha": 0.8},
    {"color": "tab:green", "linewidth": 0.8, "zorder": 3, "linestyle": "--"},
    {"color": "tab:red", "linewidth": 2.0, "zorder": 1, "linestyle": "--", "alpha": 0.4},
)


def histograms(drifts: list[Drift]) -> Figure:
    """One panel per checkpoint and modality; a matplotlib Figure."""
    from matplotlib.figure import Figure

    columns = min(len(drifts), 3)
    rows = -(-len(drifts) // columns)
    figure = Figure(figsize=(WIDTH * columns, 4.0 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, drift in zip(panels, drifts, strict=False):
        for name, values, style in zip(COSINES, drift.values, STYLES, strict=True):
            label = described(name.replace("_", ", "), values, f"mean {values.mean():.3f}", scale=1)
            axis.stairs(np.histogram(values.clip(-1, 1), EDGES)[0], EDGES, label=label, **style)
        notes = [f"left out, without features: {drift.left_out}"] if drift.left_out else []
        notes += [drift.no_change] if drift.no_change else []
        panel_title(axis, drift.name, WIDTH, notes)
        axis.set(xlabel="cosine of feature and ID vector", ylabel="items", xticks=np.linspace(-1, 1, 5))
        count_upwards(axis)
        # below, because the cosines can gather anywhere in the panel
        axis.legend(fontsize="x-small", loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=2, frameon=False)
    for axis in panels[len(drifts) :]:
        axis.set_axis_off()
    return figure


def part_histograms(drifts: list[Drift]) -> Figure:
    """For each checkpoint and modality drift above omission, before and after the adapter."""
    from matplotlib.figure import Figure

    columns = min(len(drifts), 3)
    rows = -(-len(drifts) // columns)
    figure = Figure(figsize=(WIDTH * columns, 6.4 * rows), layout="constrained")
    panels = figure.subplots(2 * rows, columns, squeeze=False)
    for axes, part in zip((panels[::2].ravel(), panels[1::2].ravel()), ("drift", "omission"), strict=True):
        place = PARTS.index(part)
        shown = np.concatenate([drift.parts[:, place].ravel() for drift in drifts])
        low, high = np.percentile(shown, [0.5, 99.5])
        edges = np.linspace(low, max(high, low + 1e-6), 61)
        for unused in axes[len(drifts) :]:
            unused.set_axis_off()
        for axis, drift in zip(axes, drifts, strict=False):
            for when, values, style in zip(("before", "after"), drift.parts[:, place], STYLES, strict=False):
                label = described(when, values, f"mean {values.mean():.3f}", f"SD {values.std():.3f}", scale=1)
                axis.stairs(np.histogram(values.clip(low, high), edges)[0], edges, label=label, **style)
            if part == "drift":
                panel_title(axis, drift.name, WIDTH, _of_gate(drift))
            axis.set(xlabel=f"{part}, in mean lengths of ID vectors", ylabel="items")
            count_upwards(axis)
            axis.legend(fontsize="x-small", loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2, frameon=False)
    return figure


def _of_gate(drift: Drift) -> list[str]:
    return [] if drift.gate is None else [f"gate: mean {drift.gate[0]:.4f}, SD over items {drift.gate[1]:.2g}"]


def write_sheet(drifts: list[Drift], pictures: dict[str, Path], top: int, file: Path) -> list[Path]:
    """The pictures of the most changed items; none is written where there are no pictures or no changes."""
    rows = [(drift.name, list(_cards(drift, pictures, top))) for drift in drifts if not drift.no_change]
    if not pictures or not rows:
        for old in figure_files(file):  # of an earlier run
            old.unlink(missing_ok=True)
        return []
    return write_contact_sheet(file, rows)[0]


def _cards(drift: Drift, pictures: dict[str, Path], top: int) -> Iterator[Card]:
    for place in drift.most_changed(top):
        item = str(drift.items[place])
        note = f"{drift.values[0, place]:.3f} to {drift.values[1, place]:.3f}"
        yield Card(drift.titles.get(item, "") or item, note, pictures.get(item))
