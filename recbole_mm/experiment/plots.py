"""The figures of a report, each as PNG, SVG and PDF."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, PercentFormatter

from recbole_mm.analysis.figures import save_figure
from recbole_mm.experiment.results import DatasetResults
from recbole_mm.experiment.sections import file_name
from recbole_mm.experiment.statistics import Comparison
from recbole_mm.experiment.tables import mean_and_spread

_MOST_ROWS = 10  # colours that can be told apart
_OUTSIDE: dict[str, Any] = {"fontsize": "small", "loc": "upper left", "bbox_to_anchor": (1, 1)}
"""Of legends: beside a figure they hide nothing of it."""


@dataclass(frozen=True)
class Plot:
    """A figure of a report.

    Attributes:
        dataset: that it is about.
        caption: what it shows.
        files: PNG, SVG, PDF.
    """

    dataset: str
    caption: str
    files: list[Path]


def plots_of(results: DatasetResults, folder: Path) -> Iterator[Plot]:
    """Write the figures about one data set into a folder: differences, curves, cost, strata, audits and sweeps."""
    metric, chosen_by = results.metric, results.tables.runs["chosen_by"].iloc[0]
    of_rows = _which(results)
    captions = {
        f"{metric}: difference to {results.bases[0]}, with its interval over users and seeds": _differences(results),
        f"Validation, {chosen_by}, a line for each seed; a dot at its best epoch{of_rows}": _curves(results),
        f"Cost against quality: test {metric}; the area of a dot is its peak memory": _cost(results.rows, metric),
        f"{metric} of each kind of items and users; bars: spread over seeds{of_rows}": _strata(results),
    }
    if results.audits:
        captions[f"Change of {metric} where a modality is replaced; crosses: not shown"] = _audit(results.audits)
    for study, runs in results.sweeps.items():
        captions[f"Sweep of {study}; test {metric}"] = _sweep(runs, metric)
    yield from _written(results.dataset, captions, folder)


def plots_of_checkpoints(results: DatasetResults, folder: Path) -> Iterator[Plot]:
    """Write the figures that single checkpoints have: differences between them, and strata."""
    captions = {
        f"{results.metric}: difference to {results.bases[0]}, with its interval over users": _differences(results),
        f"{results.metric} of each kind of items and users{_which(results)}": _strata(results),
    }
    yield from _written(results.dataset, captions, folder)


def _written(dataset: str, figures: dict[str, Figure | None], folder: Path) -> Iterator[Plot]:
    for number, (caption, figure) in enumerate(figures.items(), start=1):
        if figure is not None:
            yield Plot(dataset, caption, save_figure(figure, folder / f"{file_name(dataset)}-{number}.png"))


def _drawn(results: DatasetResults) -> list[str]:
    """Rows that have a colour of their own: those that others are compared with, and the best of the others."""
    bases = results.bases[:_MOST_ROWS]
    others = [label for label in results.rows if label not in bases][: _MOST_ROWS - len(bases)]
    return [label for label in results.rows if label in (*bases, *others)]


def _which(results: DatasetResults) -> str:
    """What a caption says of the rows that are drawn; nothing where all are."""
    drawn = len(_drawn(results))
    left_out = len(results.rows) - drawn
    return f"; {drawn} of {drawn + left_out} rows: the best, and those compared with" if left_out else ""


def _differences(results: DatasetResults) -> Figure | None:
    base = results.bases[0]
    found = results.against(base)
    if not found:
        return None
    figure = Figure(figsize=(7, 1 + 0.3 * len(found)), layout="constrained")
    axis = figure.subplots()
    for place, difference in enumerate(found.values()):
        colour = {"better": "tab:green", "worse": "tab:red"}.get(difference.verdict, "tab:gray")
        axis.plot([difference.low, difference.high], [place, place], color=colour)
        axis.plot(difference.difference, place, "o", color=colour)
    axis.axvline(0, color="black", linewidth=0.8)
    axis.set_yticks(range(len(found)), list(found), parse_math=False)
    axis.set_ylim(len(found) - 0.5, -0.5)
    axis.set_xlabel(f"difference of {results.metric} to {base}", parse_math=False)
    return figure


def _curves(results: DatasetResults) -> Figure | None:
    """A line for each seed."""
    tables = results.tables
    name = f"valid_{str(tables.runs['chosen_by'].iloc[0]).lower()}"
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axis = figure.subplots()
    for number, label in enumerate(_drawn(results)):
        runs = results.rows[label]
        for _, run in runs.iterrows():
            curve = tables.curves[(tables.curves["run"] == run["run"]) & (tables.curves["name"] == name)]
            if not len(curve):
                continue
            last = curve[curve["stage"] == curve["stage"].iloc[-1]]  # of a staged training the stage that is tested
            name_once = label if run["run"] == runs["run"].iloc[0] else None
            axis.plot(last["epoch"] + 1, last["value"], label=name_once, linewidth=0.9, color=f"C{number}")
            best = last[last["epoch"] + 1 == run["best_epoch"]]
            axis.plot(best["epoch"] + 1, best["value"], "o", color=f"C{number}")
    if not axis.lines:
        return None
    axis.set_xlabel("epoch")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set_ylabel(name.removeprefix("valid_"))
    axis.legend(**_OUTSIDE)
    return figure


def _cost(groups: dict[str, pd.DataFrame], metric: str) -> Figure:
    figure = Figure(figsize=(8, max(4.5, 0.2 * len(groups))), layout="constrained")
    axis = figure.subplots()
    points: dict[str, tuple[float, float]] = {}
    most = max(runs["peak_memory"].max() for runs in groups.values())
    for label, runs in groups.items():
        seconds, value, memory = (
            runs["seconds_per_epoch"].median(),
            runs[f"test_{metric}"].mean(),
            runs["peak_memory"].max(),
        )
        size = 300 * memory / most if np.isfinite(memory) else 60
        axis.scatter(seconds, value, s=size, alpha=0.5)
        points[label] = seconds, value
    axis.set_xscale("log")
    axis.margins(0.1)
    _name_points(axis, points)
    for formatter in (axis.xaxis.set_major_formatter, axis.xaxis.set_minor_formatter):
        formatter(lambda value, _: f"{value:.3g}")
    axis.xaxis.set_minor_locator(LogLocator(subs=(2, 5)))
    axis.set_xlabel("seconds an epoch")
    axis.set_ylabel(metric)
    return figure


def _name_points(axis: Axes, points: dict[str, tuple[float, float]]) -> None:
    """Names of points ``(x, y)`` below one another at the right, each with a line to its point: none hides another."""
    low, high = axis.get_ylim()
    step = min(0.05, 1 / len(points))
    ordered = sorted(points.items(), key=lambda entry: -entry[1][1])
    place = 1.0
    for number, (label, (x, y)) in enumerate(ordered, start=1):
        wanted = min((y - low) / (high - low), place - step)
        place = max(wanted, (len(ordered) - number) * step)  # room for those below
        axis.annotate(
            label, (x, y), (1.03, place), textcoords="axes fraction", fontsize="small", parse_math=False, va="center",
            arrowprops={"arrowstyle": "-", "color": "gray", "linewidth": 0.5},
        )  # fmt: skip


def _strata(results: DatasetResults) -> Figure:
    values = results.strata.set_index("row").loc[_drawn(results)]
    facts = values.map(lambda seeds: mean_and_spread(np.atleast_1d(seeds)))
    means, spreads = facts.map(lambda fact: fact[0]), facts.map(lambda fact: fact[1])
    figure = Figure(figsize=(2 + max(7, 0.9 * len(values.columns)), 4.5), layout="constrained")
    axis = figure.subplots()
    width = 0.8 / len(means)
    for number, label in enumerate(means.index):
        places = np.arange(len(means.columns)) + (number + 0.5) * width - 0.4
        axis.bar(places, means.loc[label], width, yerr=spreads.loc[label], label=label, error_kw={"linewidth": 0.8})
    axis.set_xticks(range(len(means.columns)), list(means.columns), rotation=30, ha="right", parse_math=False)
    axis.set_ylabel(results.metric)
    axis.legend(**_OUTSIDE)
    return figure


def _audit(found: dict[str, dict[tuple[str, str], Comparison]]) -> Figure:
    """A map of rows and knock-outs."""
    columns = list(dict.fromkeys(key for own in found.values() for key in own))
    values = np.array([[own[key].relative if key in own else np.nan for key in columns] for own in found.values()])
    slanting = 0.06 * max(len(" ".join(key)) for key in columns)  # width and height of the longest name, in inches
    width = 2 + max(slanting, 0.08 * max(map(len, found))) + 0.6 * len(columns)
    figure = Figure(figsize=(width, 1 + slanting + 0.4 * max(3, len(found))), layout="constrained")
    axis = figure.subplots()
    most = max(float(np.nanmax(np.abs(values))), 1e-6)
    image = axis.imshow(values, cmap="RdBu", vmin=-most, vmax=most, aspect="auto")
    figure.colorbar(image, format=PercentFormatter(1), label="change")
    for row, own in enumerate(found.values()):
        for column, key in enumerate(columns):
            if key in own and own[key].verdict == "not shown":
                axis.plot(column, row, "x", color="black")
    axis.set_xticks(range(len(columns)), [" ".join(key) for key in columns], rotation=45, ha="right", parse_math=False)
    axis.set_yticks(range(len(found)), list(found), parse_math=False)
    return figure


def _sweep(runs: pd.DataFrame, metric: str) -> Figure:
    """One key a line, two keys a map."""
    keys = [name for name in runs if name.startswith("sweep.")]
    figure = Figure(figsize=(6, 4), layout="constrained")
    axis = figure.subplots()
    names = [key.removeprefix("sweep.") for key in keys]
    if len(keys) == 1:
        grouped = runs.groupby(keys[0], sort=False)[f"test_{metric}"]
        means, spreads = grouped.mean(), grouped.std().fillna(0)
        axis.errorbar(range(len(means)), means, yerr=spreads, marker="o", capsize=3)
        axis.set_xticks(range(len(means)), means.index, parse_math=False)
        axis.set_ylabel(metric)
    else:
        grid = runs.pivot_table(f"test_{metric}", keys[1], keys[0], sort=False)
        image = axis.imshow(grid, aspect="auto")
        figure.colorbar(image, label=metric)
        axis.set_xticks(range(len(grid.columns)), grid.columns, parse_math=False)
        axis.set_yticks(range(len(grid)), grid.index, parse_math=False)
        axis.set_ylabel(names[1], parse_math=False)
    axis.set_xlabel(names[0], parse_math=False)
    return figure
