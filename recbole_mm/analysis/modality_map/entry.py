"""``analyse modality-map``: where items' modality features lie (Figure 9 of the BeFA paper, Figure 4 of PTMRec's)."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recbole_mm.analysis.command import by_label, write_csv
from recbole_mm.analysis.embedding_map.density import ANGLES, MOST_COLUMNS, ItemDensity, angles_of, density_figure
from recbole_mm.analysis.figures import SAME, panel_title, save_figure
from recbole_mm.analysis.modality_map.vectors import (
    FeatureMap,
    FeatureView,
    draw_items,
    known_modalities,
    map_of,
    views_of,
)
from recbole_mm.analysis.options import add_seed, analysis, positive_int
from recbole_mm.load import OpenedCheckpoint

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH = 4.6  # inches of a panel


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--modality", help="default: every modality that a checkpoint projects by itself")
    parser.add_argument("--items", type=positive_int, default=500, help="how many to draw (default: %(default)s)")
    add_seed(parser)


@analysis(
    "modality-map",
    help="t-SNE of items' projected and adapted modality features, and their density on the circle (BeFA, PTMRec)",
    options=_options,
)
def write_modality_map(
    checkpoints: list[OpenedCheckpoint],
    out: Path,
    *,
    modality: str | None = None,
    items: int = 500,
    seed: int = 0,
) -> list[Path]:
    """Write both figures, and tables of all they show; gives the paths.

    A panel of the map has all modalities of one checkpoint, projected or behind its adapter, in one t-SNE; a panel of
    the density has one modality, as :class:`~recbole_mm.analysis.embedding_map.density.ItemDensity` says. The same
    items are shown of every checkpoint; those without features of their own are none of them.

    Args:
        checkpoints: of models that project modalities by themselves, on the same items.
        out: folder, made where it does not exist.
        modality: one; None takes all.
        items: how many to draw, from the first checkpoint's data set; all if it has fewer.
        seed: of the draw and of t-SNE.

    Raises:
        ValueError: a checkpoint without such a modality or without one of the items, or features on a line.
    """
    labelled = by_label(checkpoints)
    modalities = {label: known_modalities(opened, label, modality) for label, opened in labelled.items()}
    ids = draw_items(checkpoints[0], next(iter(modalities.values())), items, seed)
    panels: list[list[FeatureView]] = []
    for label, opened in labelled.items():
        views = list(views_of(opened, label, modalities[label], _internal(opened, ids)))
        by_stage = ([view for view in views if view.stage == stage] for stage in ("projected", "adapted"))
        panels += filter(None, by_stage)
    maps = [map_of(views, seed) for views in panels]
    densities = [
        ItemDensity.of(view.vectors, view.ids, f"{view.panel}: {view.modality}") for views in panels for view in views
    ]
    figures = save_figure(map_figure(maps), out / "modality-map.png")
    figures += save_figure(density_figure(densities, "Modality features"), out / "modality-density.png")
    return [*figures, *_write_tables(maps, densities, out)]


def _internal(opened: OpenedCheckpoint, ids: np.ndarray) -> np.ndarray:
    known = opened.dataset.field2token_id[opened.dataset.iid_field]
    missing = next((item for item in ids if item not in known), None)
    if missing is not None:
        raise ValueError(f"checkpoint {opened.path} has no item '{missing}'; give checkpoints of the same data")
    return np.array([known[item] for item in ids])


def map_figure(maps: list[FeatureMap]) -> Figure:
    """A panel for each checkpoint and stage, a colour for each modality."""
    from matplotlib.figure import Figure

    columns = min(len(maps), MOST_COLUMNS)
    rows = -(-len(maps) // columns)
    figure = Figure(figsize=(WIDTH * columns, 4.6 * rows + 0.6), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    colours = {name: f"C{place}" for place, name in enumerate(_modalities(maps))}
    for axis, modality_map in zip(panels, maps, strict=False):
        for view, points in zip(modality_map.views, modality_map.points, strict=True):
            axis.scatter(*points.T, s=9, color=colours[view.modality], alpha=0.7, linewidths=0)
        panel_title(axis, modality_map.views[0].panel, WIDTH, [SAME] if modality_map.all_the_same else [])
        axis.set(xticks=[], yticks=[])
    for axis in panels[len(maps) :]:
        axis.set_axis_off()
    handles = [panels[0].scatter([], [], color=colour, label=name) for name, colour in colours.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    figure.suptitle(f"t-SNE of the modality features of {len(maps[0].views[0].ids)} items", fontsize="medium")
    return figure


def _modalities(maps: list[FeatureMap]) -> list[str]:
    return list(dict.fromkeys(view.modality for modality_map in maps for view in modality_map.views))


def _write_tables(maps: list[FeatureMap], densities: list[ItemDensity], out: Path) -> list[Path]:
    files = [out / "modality-map.csv", out / "modality-angle-density.csv"]
    header = ["checkpoint", "stage", "modality", "item_id", "x", "y", "circle_x", "circle_y", "angle"]
    write_csv(files[0], header, _item_rows(maps, densities))
    angles = ([density.label, *pair] for density in densities for pair in zip(ANGLES, density.angle, strict=True))
    write_csv(files[1], ["features", "angle", "density"], angles)
    return files


def _item_rows(maps: list[FeatureMap], densities: list[ItemDensity]) -> Iterator[list[Any]]:
    views: list[tuple[FeatureView, np.ndarray]] = [
        pair for modality_map in maps for pair in zip(modality_map.views, modality_map.points, strict=True)
    ]
    for (view, points), density in zip(views, densities, strict=True):
        columns = (view.ids, points, density.points, angles_of(density.points))
        for item, place, circle, angle in zip(*columns, strict=True):
            yield [view.label, view.stage, view.modality, item, *place, *circle, angle]
