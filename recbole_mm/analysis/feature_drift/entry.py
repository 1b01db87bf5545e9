"""``analyse feature-drift``: how far features are from behaviour, before and after the feature adapter (BeFA)."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from recbole_mm.analysis.command import by_label, write_csv
from recbole_mm.analysis.feature_drift.drift import COSINES, PARTS, Drift, drifts_of
from recbole_mm.analysis.feature_drift.figures import histograms, part_histograms, write_sheet
from recbole_mm.analysis.figures import save_figure
from recbole_mm.analysis.items import item_ids, item_pictures
from recbole_mm.analysis.options import add_images, add_top, analysis, check_top
from recbole_mm.load import OpenedCheckpoint


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--modality", help="default: every modality of a checkpoint")
    add_images(parser)
    add_top(parser, 10, "items with the largest change shown")


@analysis(
    "feature-drift",
    help="cosines of items' features with their behaviour before and after the feature adapter (BeFA)",
    options=_options,
)
def write_feature_drift(
    checkpoints: list[OpenedCheckpoint],
    out: Path,
    *,
    modality: str | None = None,
    images: Path | None = None,
    top: int = 10,
) -> list[Path]:
    """Write the distributions, tables of all items and of the most changed, and their contact sheet; gives all paths.

    What BeFA calls information drift (the feature tells what behaviour does not follow) and omission (it lacks what
    behaviour follows) both lower the cosine of projected feature and ID vector;
    :func:`~recbole_mm.analysis.feature_drift.drift.parts_of` tells them apart. An adapter that gates the ID vector
    raises it for any feature: the columns `swapped`, with another item's feature, show how much of it is that.
    Items whose features are imputed are left out.

    Args:
        checkpoints: of models that project features; without a feature adapter, nothing changes.
        out: folder, made where it does not exist.
        modality: one; None takes every modality that a checkpoint has.
        images: folder of pictures by item id; None takes the data set's own, if it has one.
        top: most changed items listed per checkpoint and modality.

    Raises:
        ValueError: a checkpoint that has no item ID vectors or no such projected modality; `top` above 100.
        FileNotFoundError: `images` does not exist or is of other items.
    """
    check_top(top, "feature-drift.csv")
    drifts = [
        drift for label, opened in by_label(checkpoints).items() for drift in drifts_of(opened, label, modality)
    ]
    _warn(drifts)
    pictures = item_pictures(checkpoints[0].dataset, item_ids(checkpoints[0].dataset), images)
    figures = save_figure(histograms(drifts), out / "feature-drift.png")
    figures += save_figure(part_histograms(drifts), out / "feature-drift-parts.png")
    figures += write_sheet(drifts, pictures, top, out / "feature-drift-pictures.png")
    return [*figures, *_write_tables(drifts, top, out)]


def _warn(drifts: list[Drift]) -> None:
    logger = logging.getLogger(__name__)
    for drift in drifts:
        if drift.left_out:
            logger.warning("%s: items left out, as they have no features: %d", drift.name, drift.left_out)
        if drift.no_change:
            logger.warning("%s: %s, so that no items are ranked", drift.name, drift.no_change)


def _write_tables(drifts: list[Drift], top: int, out: Path) -> list[Path]:
    tables = [out / f"feature-drift{end}.csv" for end in ("", "-summary", "-items")]
    parts = [f"{part}_{when}" for when in ("before", "after") for part in PARTS]
    header = ["checkpoint", "modality", "item_id", "title", *COSINES, "change", *parts]
    write_csv(tables[0], header, _item_rows(drifts))
    spread = [f"{name}_{kind}" for name in (*COSINES, "change", *parts) for kind in ("mean", "sd")]
    header = ["checkpoint", "modality", "items", "left_out", *spread, "gate_mean", "gate_sd"]
    write_csv(tables[1], header, map(_summary_row, drifts))
    header = ["checkpoint", "modality", "rank", "item_id", "title", "before", "after", "change"]
    write_csv(tables[2], header, _changed_rows(drifts, top))
    return tables


def _item_rows(drifts: list[Drift]) -> Iterator[list[Any]]:
    for drift in drifts:
        columns = (drift.items, drift.values.T, drift.change, _flat(drift).T)
        for item, values, change, parts in zip(*columns, strict=True):
            yield [drift.label, drift.modality, item, drift.titles.get(item, ""), *values, change, *parts]


def _summary_row(drift: Drift) -> list[Any]:
    columns = [*drift.values, drift.change, *_flat(drift)]
    numbers = [number for column in columns for number in (column.mean(), column.std(ddof=1))]
    gate = ("", "") if drift.gate is None else drift.gate
    return [drift.label, drift.modality, len(drift.items), drift.left_out, *numbers, *gate]


def _flat(drift: Drift) -> np.ndarray:
    """The parts before and after side by side, ``[2 * len(PARTS), n]``."""
    return drift.parts.reshape(-1, drift.parts.shape[-1])


def _changed_rows(drifts: list[Drift], top: int) -> Iterator[list[Any]]:
    for drift in drifts:
        for rank, place in enumerate(drift.most_changed(top), start=1):
            item = drift.items[place]
            numbers = [*drift.values[:2, place], drift.change[place]]
            yield [drift.label, drift.modality, rank, item, drift.titles.get(item, ""), *numbers]
