"""The page that shows the heat maps and numbers of `analyse attribution` together."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from math import isnan
from pathlib import Path
from urllib.parse import quote

import numpy as np

from recbole_mm.analysis.becam import MAPS
from recbole_mm.analysis.behaviour_cosines import BehaviourCosines
from recbole_mm.analysis.command import OF_THE_RUN
from recbole_mm.analysis.html import image, links, table
from recbole_mm.trainer.checkpoint import settings

READING = """<p>A map is the sum of the encoder's channels, each weighted by the cosine of the item's behaviour (ID)
vector with what the recommender makes of the picture seen through that channel: of the projected feature
(<em>plain</em>), or of that after the feature adapter (<em>adapted</em>). Each map has its own scale, from blue (least)
to red (most). An adapter that gates the behaviour vector, as BeFA does, leaves every cosine positive and often near 1,
so that the adapted map alone does not show better attention. The <em>centred</em> maps, whose weights are less their
mean, show what the channels differ in.</p>
"""
AREAS = """<p>Deletion: pixels go, the map's most important first; the smaller the area under the cosine, the better
the map finds what counts. Insertion: they come; the larger, the better. Compare maps under the same score (the cosine
before or after the adapter) and with the random order; SD is over items.</p>
"""


@dataclass(frozen=True)
class ItemPictures:
    """One item's picture files, by name: the original, and per checkpoint the maps; with its cosines, ``[2]`` each."""

    item: str
    title: str
    original: str
    heat: list[list[str]]
    cosines: list[np.ndarray]

    @property
    def heading(self) -> str:
        """What a reader knows the item by."""
        return f"{self.title} (item {self.item})" if self.title else f"Item {self.item}"


def introduction(
    targets: list[BehaviourCosines], encoder: str, doubts: list[str], left_out: dict[str, str], sheets: list[Path]
) -> str:
    """What was analysed, what speaks against it, how to read it.

    Args:
        targets: the checkpoints.
        encoder: its folder or name.
        doubts: why the maps may mean nothing.
        left_out: reasons by item id.
        sheets: contact sheets to link.
    """
    parts = [f'<p role="alert"><strong>Warning: {escape(one)}.</strong></p>\n' for one in doubts]
    parts.append(f"<p>Pictures as {escape(encoder)} sees them. Contact sheets: {links(sheets)}</p>\n")
    header = ["checkpoint", "file", "data set", "feature adapter"]
    parts.append(table("Checkpoints", header, map(_checkpoint, targets)))
    parts.extend(map(_settings, targets))
    parts.append(READING)
    if left_out:
        parts.append(table("Left out", ["item", "reason"], (list(one) for one in left_out.items())))
    return "".join(parts)


def _checkpoint(target: BehaviourCosines) -> list[str]:
    config = target.opened.config
    adapter = config["feature_adapter"] if target.has_adapter else "none: its adapted maps are the plain ones"
    return [target.label, str(target.opened.path), config["dataset"], adapter]


def _settings(target: BehaviourCosines) -> str:
    pairs = ((key, value) for key, value in settings(target.opened.config).items() if key not in OF_THE_RUN)
    listed = escape(", ".join(f"{key}: {value}" for key, value in pairs))
    return f"<details><summary>Settings of {escape(target.label)}</summary><p>{listed}</p></details>\n"


def item_sections(folder: Path, pictures: list[ItemPictures], labels: list[str]) -> list[str]:
    """One table per item of the picture files in `folder`, which lies beside the page; a row per checkpoint."""
    return [_item(folder, one, labels) for one in pictures]


def _item(folder: Path, pictures: ItemPictures, labels: list[str]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in ("checkpoint", "original", *MAPS, "cosine before, after"))
    rows = []
    for label, heat, cosines in zip(labels, pictures.heat, pictures.cosines, strict=True):
        cells = [escape(label), *(_picture(folder, name) for name in (pictures.original, *heat))]
        cells.append(", ".join(f"{one:.3f}" for one in cosines))
        rows.append(f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>\n")
    return f"<h2>{escape(pictures.heading)}</h2>\n<table>\n<tr>{head}</tr>\n{''.join(rows)}</table>\n"


def _picture(folder: Path, name: str) -> str:
    return f'<img src="{quote(folder.name)}/{quote(name)}" alt="{escape(name)}" width="160" loading="lazy">'


def areas_section(summary: list[list], curves: Path, data: list[Path]) -> str:
    """How well the maps find what counts.

    Args:
        summary: rows of areas: checkpoint, map, score, items, and means and spreads, which are NaN for one item.
        curves: figure of the deletion and insertion curves.
        data: tables and raw maps to link.
    """
    header = ["checkpoint", "map", "cosine", "items", "deletion", "SD", "insertion", "SD"]
    rows = [[*row[:4], *("–" if isnan(number) else f"{number:.4f}" for number in row[4:])] for row in summary]
    parts = ["<h2>Do the maps find what counts?</h2>\n", AREAS, table("Area under the curves", header, rows)]
    parts.append(image(curves, "Mean cosine as pixels are deleted or inserted"))
    parts.append(f"<p>All numbers and raw maps: {links(data)}</p>\n")
    return "".join(parts)
