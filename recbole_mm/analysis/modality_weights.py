"""Figures 5 and 6 of the MARGO paper: how far items trust each modality, and which the most and the least."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator
from dataclasses import astuple
from itertools import groupby
from pathlib import Path

import numpy as np

from recbole_mm.analysis.command import checkpoint_labels, positive_int, save_figure, write_csv
from recbole_mm.analysis.contact_sheet import Card, contact_sheet
from recbole_mm.analysis.items import item_pictures, item_titles
from recbole_mm.analysis.modality_weights_page import ItemSection, page
from recbole_mm.analysis.weight_tables import ExtremeItem, ModalityWeights, extreme_items, modality_weights
from recbole_mm.io.files import atomic_file
from recbole_mm.load import OpenedCheckpoint
from recbole_mm.registry import register_analysis

MOST_ITEMS = 100  # at an end: matplotlib draws at most 65,536 pixels
EDGES = np.linspace(0, 1, 51)  # bins of 0.02
ITEM_COLUMNS = "modality end rank item_id title weight training_interactions picture".split()
FILES = (".png", ".csv", "-histogram.csv", "-items.csv")


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--images",
        type=Path,
        metavar="DIR",
        help="pictures <item_id>.jpg or .png (default: the folder images beside the .inter, if there is one)",
    )
    parser.add_argument(
        "--top", type=positive_int, default=5, help="items at each end of a modality (default: %(default)s)"
    )


@register_analysis(
    "modality-weights",
    help="histogram of the modality weights; the items that trust each modality most and least (MARGO)",
    options=_options,
)
def run_modality_weights(checkpoints: list[OpenedCheckpoint], arguments: argparse.Namespace) -> list[Path]:
    """:func:`write_modality_weights` with the options of `analyse modality-weights`."""
    return write_modality_weights(checkpoints, arguments.out, arguments.images, arguments.top)


def write_modality_weights(
    checkpoints: list[OpenedCheckpoint], out: Path, images: Path | None = None, top: int = 5
) -> list[Path]:
    """Write figure, tables, contact sheets and `modality-weights.html`, which shows them; gives all paths.

    Args:
        checkpoints: with modality weights; all are overlaid in one histogram per modality.
        out: folder, made where it does not exist.
        images: folder of pictures by item id; None takes the data set's own, if it has one.
        top: items shown at each end of a modality.

    Raises:
        ValueError: a checkpoint without modality weights, `images` for user weights, pictures without Pillow,
            or `top` above 100.
        FileNotFoundError: `images` does not exist or is of other items.
    """
    if top > MOST_ITEMS:
        raise ValueError(
            f"--top: {top} is more than the {MOST_ITEMS} that fit a sheet; modality-weights.csv has all"
        )
    labels = checkpoint_labels(checkpoints)
    tables = [modality_weights(opened, label) for opened, label in zip(checkpoints, labels, strict=True)]
    titles = [item_titles(opened.dataset) for opened in checkpoints]
    extremes = {}
    for opened, weights, names in zip(checkpoints, tables, titles, strict=True):
        if weights.of == "item":
            pictures = item_pictures(opened.dataset, weights.ids, images)
            extremes[weights.label] = extreme_items(weights, names, pictures, top)
    if images is not None and not extremes:
        raise ValueError(
            "--images: user weights rank no items, so there are no pictures to show; leave it out"
        )
    out.mkdir(parents=True, exist_ok=True)
    figure, *csvs = (out / f"modality-weights{end}" for end in FILES)
    save_figure(_histograms(tables), figure)
    _write_tables(tables, titles, extremes, csvs)
    sections = [
        _item_section(label, items, out / f"modality-weights-pictures-{number}.png")
        for number, (label, items) in enumerate(extremes.items(), start=1)
    ]
    shown = out / "modality-weights.html"
    with atomic_file(shown) as temporary:
        temporary.write_text(page(tables, figure, csvs, sections), encoding="utf-8")
    return [shown, figure, *(section.sheet for section in sections if section.sheet), *csvs]


# ---------------------------------------------------------------- figures


def _histograms(tables: list[ModalityWeights]):
    """One panel per modality, all checkpoints overlaid."""
    from matplotlib.figure import Figure

    modalities = list(dict.fromkeys(name for weights in tables for name in weights.modalities))
    figure = Figure(figsize=(4.8 * len(modalities), 3.6 + 0.2 * len(tables)), layout="constrained")
    for axis, modality in zip(figure.subplots(1, len(modalities), squeeze=False)[0], modalities, strict=True):
        for weights in tables:
            if modality in weights.modalities:
                _draw_histogram(axis, weights, weights.column(modality))
        axis.set_title(modality, parse_math=False)
        axis.set(xlim=(0, 1), xlabel="modality weight", ylabel=f"share of {_counted(tables)}")
        # below, because weights can gather anywhere in the panel
        axis.legend(fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.16), frameon=False)
    return figure


def _draw_histogram(axis, weights: ModalityWeights, column: np.ndarray) -> None:
    label = f"{weights.label}: mean {column.mean():.3f}, SD {column.std():.3f}"
    if weights.of == "user":
        label += " (user weights)"
    shares = np.histogram(column, EDGES)[0] / max(len(column), 1)
    line = axis.stairs(shares, EDGES, linewidth=1.5, label=label)
    axis.stairs(shares, EDGES, fill=True, alpha=0.2, color=line.get_edgecolor())


def _counted(tables: list[ModalityWeights]) -> str:
    return " or ".join(f"{of}s" for of in dict.fromkeys(weights.of for weights in tables))


def _item_section(label: str, items: list[ExtremeItem], sheet: Path) -> ItemSection:
    """Write the contact sheet, if there is a picture to show."""
    if not any(one.picture for one in items):
        return ItemSection(label, items, None, [])
    rows = [
        (f"{modality}: {end}", [Card(one.title or one.item, f"{one.weight:.3f}", one.picture) for one in row])
        for (modality, end), row in groupby(items, key=lambda one: (one.modality, one.end))
    ]
    figure, unreadable = contact_sheet(rows)
    save_figure(figure, sheet)
    if unreadable:
        names = ", ".join(str(file) for file in dict.fromkeys(unreadable))
        logging.getLogger(__name__).warning("left out, as they cannot be read as pictures: %s", names)
    return ItemSection(label, items, sheet, unreadable)


# ---------------------------------------------------------------- tables


def _write_tables(tables, titles, extremes, files: list[Path]) -> None:
    write_csv(
        files[0],
        ["checkpoint", "of", "id", "title", "training_interactions", "modality", "weight", "has_features"],
        (row for weights, names in zip(tables, titles, strict=True) for row in _weight_rows(weights, names)),
    )
    write_csv(
        files[1],
        ["checkpoint", "of", "modality", "mean", "sd", "outside", "bin_from", "bin_to", "count"],
        (row for weights in tables for row in _histogram_rows(weights)),
    )
    write_csv(
        files[2],
        ["checkpoint", *ITEM_COLUMNS],
        ([label, *astuple(one)] for label, items in extremes.items() for one in items),
    )


def _weight_rows(weights: ModalityWeights, titles: dict[str, str]) -> Iterator[list]:
    of_items = weights.of == "item"
    columns = (weights.ids, weights.interactions, weights.values, weights.has_features)
    for name, count, row, present in zip(*columns, strict=True):
        title = titles.get(name, "") if of_items else ""
        for modality, value, has_features in zip(weights.modalities, row, present, strict=True):
            marked = int(has_features) if of_items else ""
            yield [weights.label, weights.of, name, title, count, modality, value, marked]


def _histogram_rows(weights: ModalityWeights) -> Iterator[list]:
    outside = int((~weights.in_range).sum())
    for modality in weights.modalities:
        column = weights.column(modality)
        counts, _ = np.histogram(column, EDGES)
        summary = [weights.label, weights.of, modality, column.mean(), column.std(), outside]
        for count, low, high in zip(counts, EDGES[:-1], EDGES[1:], strict=True):
            yield [*summary, low, high, count]
