"""The page that shows the figures and tables of `analyse modality-weights` together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from itertools import groupby
from pathlib import Path

from recbole_mm.analysis.html import document, image, links, table
from recbole_mm.analysis.weight_tables import ExtremeItem, ModalityWeights

USER_WEIGHTS = """<p>User weights are free parameters, here each user's divided by their sum. Users for
whom that leaves [0, 1] are counted in the last column and are in neither the others nor the histogram.</p>
"""


@dataclass(frozen=True)
class ItemSection:
    """What the page shows of one checkpoint's items; `sheet` is None where there are no pictures."""

    label: str
    items: list[ExtremeItem]
    sheet: Path | None
    unreadable: list[Path]


def page(tables: list[ModalityWeights], figure: Path, csvs: list[Path], sections: list[ItemSection]) -> str:
    """The HTML page; its links are relative to the folder of `figure`, where all files lie."""
    parts = [image(figure, "Histogram of the weights of each modality"), _summary(tables)]
    for section in sections:
        parts.append(f"<h2>{escape(section.label)}: items</h2>\n")
        parts.append("<p>Items without training interactions, or features of the modality, are not ranked.</p>\n")
        parts.append(_pictures(section))
        for (modality, end), items in groupby(section.items, key=lambda one: (one.modality, one.end)):
            parts.append(_item_table(f"{modality}: {end} reliable", items))
    parts.append(f"<p>All numbers: {links(csvs)}</p>\n")
    return document("Modality weights", parts)


def _summary(tables: list[ModalityWeights]) -> str:
    rows = []
    for weights in tables:
        outside = int((~weights.in_range).sum())
        for modality in weights.modalities:
            column = weights.column(modality)
            spread = [f"{column.mean():.3f}", f"{column.std():.3f}"]
            rows.append([weights.label, weights.of, modality, *spread, outside])
    header = ["checkpoint", "weights of each", "modality", "mean", "SD", "outside [0, 1]"]
    shown = table("Mean and spread", header, rows)
    if any(weights.of == "user" for weights in tables):
        shown += USER_WEIGHTS
    return shown


def _pictures(section: ItemSection) -> str:
    if section.sheet is None:
        return "<p>No pictures: the data set has none of these items.</p>\n"
    shown = image(section.sheet, "Pictures of the items listed below")
    if section.unreadable:
        names = ", ".join(escape(file.name) for file in dict.fromkeys(section.unreadable))
        shown += f"<p>Unreadable, left out: {names}</p>\n"
    return shown


def _item_table(caption: str, items: Iterable[ExtremeItem]) -> str:
    header = ["rank", "item", "title", "weight", "training interactions"]
    rows = [[one.rank, one.item, one.title, f"{one.weight:.3f}", one.interactions] for one in items]
    return table(caption, header, rows)
