"""Figures 5 and 6 of the MARGO paper: how far items trust each modality, and which the most and the least."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np

from recbole_mm.analysis.command import by_label, write_csv
from recbole_mm.analysis.figures import save_figure
from recbole_mm.analysis.items import TEXT_FIELDS, item_pictures, item_texts, item_titles
from recbole_mm.analysis.modality_weights.figures import EDGES, histograms, item_section
from recbole_mm.analysis.modality_weights.page import write_weights_page
from recbole_mm.analysis.modality_weights.weight_tables import (
    ExtremeItem,
    ModalityWeights,
    all_modality_weights,
    extreme_items,
)
from recbole_mm.analysis.options import add_images, add_top, analysis, check_top, comma_separated
from recbole_mm.load import OpenedCheckpoint

ITEM_COLUMNS = "modality end rank item_id title weight training_interactions picture text".split()
TABLES = (".csv", "-histogram.csv", "-items.csv")


def _options(parser: argparse.ArgumentParser) -> None:
    add_images(parser)
    parser.add_argument(
        "--text-fields",
        type=comma_separated,
        metavar="A,B",
        help=f"texts of the .item file shown beside the pictures (default: those of {', '.join(TEXT_FIELDS)})",
    )
    add_top(parser, 5, "items at each end of a modality")


@analysis(
    "modality-weights",
    help="histogram of the modality weights; the items that trust each modality most and least (MARGO)",
    options=_options,
)
def write_modality_weights(
    checkpoints: list[OpenedCheckpoint],
    out: Path,
    images: Path | None = None,
    top: int = 5,
    text_fields: list[str] | None = None,
) -> list[Path]:
    """Write figure, tables, contact sheets and `modality-weights.html`, which shows them; gives all paths.

    Args:
        checkpoints: with modality weights; all are overlaid in one histogram per modality.
        out: folder, made where it does not exist.
        images: folder of pictures by item id; None takes the data set's own, if it has one.
        top: items shown at each end of a modality.
        text_fields: of the `.item` file, whose texts stand beside the pictures; None takes the usual ones.

    Raises:
        ValueError: a checkpoint without modality weights, no such text field, `images` for user weights, pictures
            without Pillow, or `top` above 100.
        FileNotFoundError: `images` does not exist or is of other items.
    """
    check_top(top, "modality-weights.csv")
    own = [all_modality_weights(opened, label) for label, opened in by_label(checkpoints).items()]
    tables = [table for checkpoint_tables in own for table in checkpoint_tables]
    of_tables = [opened for opened, checkpoint_tables in zip(checkpoints, own, strict=True) for _ in checkpoint_tables]
    titles = [item_titles(opened.dataset) for opened in of_tables]
    texts = [item_texts(opened.dataset, text_fields) for opened in of_tables]
    extremes = _extremes(of_tables, tables, titles, texts, images, top)
    csvs = [out / f"modality-weights{end}" for end in TABLES]
    figures = save_figure(histograms(tables), out / "modality-weights.png")
    _write_tables(tables, titles, extremes, csvs)
    sections = [
        item_section(label, items, out / f"modality-weights-pictures-{number}.png")
        for number, (label, items) in enumerate(extremes.items(), start=1)
    ]
    shown = write_weights_page(out / "modality-weights.html", tables, figures, csvs, sections)
    return [shown, *figures, *(file for section in sections for file in section.sheet), *csvs]


def _extremes(
    checkpoints: list[OpenedCheckpoint],
    tables: list[ModalityWeights],
    titles: list[dict[str, str]],
    texts: list[dict[str, str]],
    images: Path | None,
    top: int,
) -> dict[str, list[ExtremeItem]]:
    """The items to show by label, of checkpoints with item weights."""
    extremes = {}
    for opened, weights, names, own in zip(checkpoints, tables, titles, texts, strict=True):
        if weights.of == "item":
            pictures = item_pictures(opened.dataset, weights.ids, images)
            extremes[weights.label] = extreme_items(weights, names, pictures, top, own)
    if images is not None and not extremes:
        raise ValueError("--images: user weights rank no items, so there are no pictures to show; leave it out")
    return extremes


def _write_tables(
    tables: list[ModalityWeights],
    titles: list[dict[str, str]],
    extremes: dict[str, list[ExtremeItem]],
    files: list[Path],
) -> None:
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
        ([label, *astuple(item)] for label, items in extremes.items() for item in items),
    )


def _weight_rows(weights: ModalityWeights, titles: dict[str, str]) -> Iterator[list[Any]]:
    of_items = weights.of == "item"
    columns = (weights.ids, weights.interactions, weights.values, weights.has_features)
    for name, count, row, present in zip(*columns, strict=True):
        title = titles.get(name, "") if of_items else ""
        for modality, value, has_features in zip(weights.modalities, row, present, strict=True):
            marked = int(has_features) if of_items else ""
            yield [weights.label, weights.of, name, title, count, modality, value, marked]


def _histogram_rows(weights: ModalityWeights) -> Iterator[list[Any]]:
    outside = int((~weights.in_range).sum())
    for modality in weights.modalities:
        column = weights.column(modality)
        counts, _ = np.histogram(column, EDGES)
        summary = [weights.label, weights.of, modality, column.mean(), column.std(), outside]
        for count, low, high in zip(counts, EDGES[:-1], EDGES[1:], strict=True):
            yield [*summary, low, high, count]
