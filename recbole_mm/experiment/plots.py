"""The figures of a report, each as PNG, SVG and PDF."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, PercentFormatter

from recbole_mm.analysis.figures import save_figure
from recbole_mm.experiment.results import DatasetResults
from recbole_mm.experiment.sections import file_name
from recbole_mm.experiment.statistics import Comparison

_MOST_CURVES = 10  # colours that can be told apart


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
    captions = {
        f"{metric}: difference to {results.bases[0]}, with its interval over users and seeds": _differences(results),
        f"Validation, {chosen_by}, a line for each seed; a dot at its best epoch": _curves(results),
        f"Cost against quality: test {metric}; the area of a dot is its peak memory": _cost(results.rows, metric),
        f"{metric} of each kind of items and users; bars: spread over seeds": _strata(results),
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
        f"{results.metric} of each kind of items and users": _strata(results),
    }
    yield from _written(results.dataset, captions, folder)


def _written(dataset: str, figures: dict[str, Figure | None], folder: Path) -> Iterator[Plot]:
    for number, (caption, figure) in enumerate(figures.items(), start=1):
        if figure is not None:
            yield Plot(dataset, caption, save_figure(figure, folder / f"{file_name(dataset)}-{number}.png"))


def _differences(results: DatasetResults) -> Figure | None:
    base = results.bases[0]
    found = results.against(base)
    if not found:
        return None
    figure = Figure(figsize=(7, 1 + 0.3 * len(found)), layout="constrained")
    axis = figure.subplots()
    for place, one in enumerate(found.values()):
        colour = {"better": "tab:green", "worse": "tab:red"}.get(one.verdict, "tab:gray")
        axis.plot([one.low, one.high], [place, place], color=colour)
        axis.plot(one.difference, place, "o", color=colour)
    axis.axvline(0, color="black", linewidth=0.8)
    axis.set_yticks(range(len(found)), list(found), parse_math=False)
    axis.invert_yaxis()
    axis.set_xlabel(f"difference of {results.metric} to {base}", parse_math=False)
    return figure


def _curves(results: DatasetResults) -> Figure | None:
    """A line for each seed."""
    tables = results.tables
    name = f"valid_{str(tables.runs['chosen_by'].iloc[0]).lower()}"
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axis = figure.subplots()
    for number, (label, runs) in enumerate(list(results.rows.items())[:_MOST_CURVES]):
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
    axis.set_ylabel(name.removeprefix("valid_"))
    axis.legend(fontsize="small")
    return figure


def _cost(groups: dict[str, pd.DataFrame], metric: str) -> Figure:
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axis = figure.subplots()
    most = max(runs["peak_memory"].max() for runs in groups.values())
    for label, runs in groups.items():
        seconds, value, memory = (
            runs["seconds_per_epoch"].median(),
            runs[f"test_{metric}"].mean(),
            runs["peak_memory"].max(),
        )
        size = 300 * memory / most if np.isfinite(memory) else 60
        axis.scatter(seconds, value, s=size, alpha=0.5)
        axis.annotate(
            label, (seconds, value), fontsize="small", parse_math=False, xytext=(4, 4), textcoords="offset points"
        )
    axis.set_xscale("log")
    axis.margins(0.2)
    for formatter in (axis.xaxis.set_major_formatter, axis.xaxis.set_minor_formatter):
        formatter(lambda value, _: f"{value:.3g}")
    axis.xaxis.set_minor_locator(LogLocator(subs=(2, 5)))
    axis.set_xlabel("seconds an epoch")
    axis.set_ylabel(metric)
    return figure


def _strata(results: DatasetResults) -> Figure:
    values = results.strata[:_MOST_CURVES].set_index("row")
    means, spreads = values.map(np.mean), values.map(np.std)
    figure = Figure(figsize=(max(7, 0.9 * len(values.columns)), 4.5), layout="constrained")
    axis = figure.subplots()
    width = 0.8 / len(means)
    for number, label in enumerate(means.index):
        places = np.arange(len(means.columns)) + (number + 0.5) * width - 0.4
        axis.bar(places, means.loc[label], width, yerr=spreads.loc[label], label=label, error_kw={"linewidth": 0.8})
    axis.set_xticks(range(len(means.columns)), list(means.columns), rotation=30, ha="right", parse_math=False)
    axis.set_ylabel(results.metric)
    axis.legend(fontsize="small")
    return figure


def _audit(found: dict[str, dict[tuple[str, str], Comparison]]) -> Figure:
    """A map of rows and knock-outs."""
    columns = list(dict.fromkeys(key for own in found.values() for key in own))
    values = np.array([[own[key].relative if key in own else np.nan for key in columns] for own in found.values()])
    figure = Figure(figsize=(2.5 + 0.6 * len(columns), 1.8 + 0.4 * len(found)), layout="constrained")
    axis = figure.subplots()
    most = max(float(np.nanmax(np.abs(values))), 1e-6)
    image = axis.imshow(values, cmap="RdBu", vmin=-most, vmax=most, aspect="auto")
    figure.colorbar(image, format=PercentFormatter(1))
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
