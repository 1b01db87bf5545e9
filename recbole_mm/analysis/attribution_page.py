"""The page that shows the heat maps and numbers of `analyse attribution` together."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path
from urllib.parse import quote

import numpy as np

from recbole_mm.analysis.becam import MAPS
from recbole_mm.analysis.behaviour_cosines import BehaviourCosines
from recbole_mm.analysis.html import document, image, links, table

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


def page(
    folder: Path,
    pictures: list[ItemPictures],
    targets: list[BehaviourCosines],
    summary: list[list],
    left_out: dict[str, str],
    curves: Path,
    data: list[Path],
) -> str:
    """The HTML page; its links are relative to the parent of `folder`, where all files lie.

    Args:
        folder: of the picture files.
        targets: the checkpoints.
        summary: rows of areas: checkpoint, map, score, items, and means and spreads.
        left_out: reasons by item id.
        curves: figure of the deletion and insertion curves.
        data: tables and raw maps to link.
    """
    parts = [READING]
    parts.extend(
        f"<p>{escape(target.label)} has no feature adapter: its adapted maps are the plain ones.</p>\n"
        for target in targets
        if not target.has_adapter
    )
    if left_out:
        parts.append(table("Left out", ["item", "reason"], (list(one) for one in left_out.items())))
    parts.extend(_item(folder, one, [target.label for target in targets]) for one in pictures)
    parts.extend(["<h2>Do the maps find what counts?</h2>\n", AREAS, _areas(summary)])
    parts.append(image(curves, "Mean cosine as pixels are deleted or inserted"))
    parts.append(f"<p>All numbers and raw maps: {links(data)}</p>\n")
    return document("Attribution of pictures", parts)


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


def _areas(summary: list[list]) -> str:
    header = ["checkpoint", "map", "cosine", "items", "deletion", "SD", "insertion", "SD"]
    rows = [[*row[:4], *(f"{number:.4f}" for number in row[4:])] for row in summary]
    return table("Area under the curves", header, rows)
