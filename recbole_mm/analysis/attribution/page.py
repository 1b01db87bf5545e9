"""The page that shows the heat maps and numbers of `analyse attribution` together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np

from recbole_mm.analysis.attribution.becam import MAPS
from recbole_mm.analysis.behaviour_cosines import BehaviourCosines
from recbole_mm.analysis.pages import write_page
from recbole_mm.trainer.checkpoint import OF_THE_RUN, settings


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

    def rows(self, labels: list[str]) -> Iterator[tuple[str, list[str], str]]:
        """Per checkpoint its label, its maps and its cosines as text."""
        for label, heat, cosines in zip(labels, self.heat, self.cosines, strict=True):
            yield label, heat, ", ".join(f"{cosine:.3f}" for cosine in cosines)


def write_attribution_page(
    file: Path, targets: list[BehaviourCosines], summary: list[list[Any]], **values: Any
) -> Path:
    """Write the page; gives its path.

    Args:
        file: in the folder of all that it shows.
        targets: the checkpoints.
        summary: rows of areas: checkpoint, map, score, items, and means and spreads, which are NaN for one item.
        values: `encoder`, `doubts` (why the maps may mean nothing), `left_out` (reasons by item id), `sheets`,
            `folder` of the maps, `items` (ItemPictures), `curves` (the figure's files) and `data` (tables, raw maps).
    """
    return write_page(
        file,
        "attribution/page.html",
        labels=[target.label for target in targets],
        maps=list(MAPS),
        checkpoints=list(map(_checkpoint, targets)),
        settings=[(target.label, _settings(target)) for target in targets],
        areas=[[*row[:4], *("–" if isnan(value) else f"{value:.4f}" for value in row[4:])] for row in summary],
        **values,
    )


def _checkpoint(target: BehaviourCosines) -> list[str]:
    config = target.opened.config
    adapter = config["feature_adapter"] if target.has_adapter else "none: its adapted maps are the plain ones"
    return [target.label, str(target.opened.path), config["dataset"], adapter]


def _settings(target: BehaviourCosines) -> str:
    pairs = ((key, value) for key, value in settings(target.opened.config).items() if key not in OF_THE_RUN)
    return ", ".join(f"{key}: {value}" for key, value in pairs)
