"""The page that shows the figures and tables of `analyse modality-weights` together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from recbole_mm.analysis.modality_weights.weight_tables import ExtremeItem, ModalityWeights
from recbole_mm.analysis.pages import write_page


@dataclass(frozen=True)
class ItemSection:
    """What the page shows of one checkpoint's items; `sheet`, its files, is empty where there are no pictures."""

    label: str
    items: list[ExtremeItem]
    sheet: list[Path]
    unreadable: list[Path]

    @property
    def tables(self) -> Iterator[tuple[str, list[list[Any]]]]:
        """Caption and rows of each end of each modality."""
        for (modality, end), items in groupby(self.items, key=lambda extreme: (extreme.modality, extreme.end)):
            rows = [
                [item.rank, item.item, item.title, f"{item.weight:.3f}", item.interactions, item.text] for item in items
            ]
            yield f"{modality}: {end} reliable", rows


def write_weights_page(
    file: Path, tables: list[ModalityWeights], histograms: list[Path], csvs: list[Path], sections: list[ItemSection]
) -> Path:
    """Write the page beside all files that it shows; gives its path."""
    return write_page(
        file,
        "modality_weights/page.html",
        histograms=histograms,
        summary=list(_summary(tables)),
        of_users=any(weights.of == "user" for weights in tables),
        sections=sections,
        csvs=csvs,
    )


def _summary(tables: list[ModalityWeights]) -> Iterator[list[Any]]:
    for weights in tables:
        outside = int((~weights.in_range).sum())
        for modality in weights.modalities:
            column = weights.column(modality)
            spread = [f"{column.mean():.3f}", f"{column.std():.3f}"]
            yield [weights.label, weights.of, modality, *spread, outside]
