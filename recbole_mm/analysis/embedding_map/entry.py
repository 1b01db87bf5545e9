"""Figure 4 of the LUDP paper: users among the items they interacted with; and how evenly items spread."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from recbole_mm.analysis.command import by_label, write_csv
from recbole_mm.analysis.embedding_map.density import ItemDensity, density_figure, write_densities
from recbole_mm.analysis.embedding_map.user_map import TRAINING_ITEMS, UserMap, draw_users, embeddings, user_map
from recbole_mm.analysis.figures import LETTER, SAME, panel_title, save_figure
from recbole_mm.analysis.items import item_ids
from recbole_mm.analysis.options import add_seed, analysis, comma_separated, positive_int
from recbole_mm.load import OpenedCheckpoint

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def _options(parser: argparse.ArgumentParser) -> None:
    users = parser.add_mutually_exclusive_group()
    users.add_argument(
        "--users",
        type=positive_int,
        default=5,
        help="how many to draw (default: %(default)s)",
    )
    users.add_argument("--user-ids", type=comma_separated, metavar="A,B,C", help="show these users instead")
    parser.add_argument(
        "--training-items",
        type=positive_int,
        nargs=2,
        default=TRAINING_ITEMS,
        metavar=("LEAST", "MOST"),
        help="draw of the users with so many training items (default: {} {})".format(*TRAINING_ITEMS),
    )
    add_seed(parser)


@analysis(
    "embedding-map",
    help="t-SNE of users and their training items, and the density of all items on the unit circle (LUDP)",
    options=_options,
)
def write_embedding_map(
    checkpoints: list[OpenedCheckpoint],
    out: Path,
    users: int = 5,
    user_ids: list[str] | None = None,
    seed: int = 0,
    training_items: Sequence[int] = TRAINING_ITEMS,
) -> list[Path]:
    """Write both figures, checkpoints side by side, and tables of all they show; gives the paths.

    Args:
        checkpoints: of models that score by dot products.
        out: folder, made where it does not exist.
        users: how many to draw, from the first checkpoint's data set.
        user_ids: original ids of the users to show instead.
        seed: of the draw and of t-SNE.
        training_items: least and most training items of the users to draw from.

    Raises:
        ValueError: unknown users, too few users to draw from, or embeddings that cannot be drawn.
    """
    labelled = by_label(checkpoints)
    chosen = user_ids or draw_users(checkpoints[0], users, seed, training_items)
    maps, densities = [], []
    for label, opened in labelled.items():
        user_table, item_table = embeddings(opened)
        maps.append(user_map(opened, user_table, item_table, label, chosen, seed))
        densities.append(ItemDensity.of(item_table[1:], item_ids(opened.dataset), label))
    table = out / "embedding-map.csv"
    figures = save_figure(map_figure(maps), out / "embedding-map.png")
    write_csv(table, ["checkpoint", "kind", "user_id", "item_id", "x", "y"], _map_rows(maps))
    figures += save_figure(density_figure(densities), out / "embedding-density.png")
    return [*figures, table, *write_densities(densities, out)]


def _map_rows(maps: list[UserMap]) -> Iterator[list[Any]]:
    for panel in maps:
        for user, history, point in zip(panel.users, panel.histories, panel.user_points, strict=True):
            yield [panel.label, "user", user, "", *point]
            for item in history:
                yield [panel.label, "item", user, item, *panel.item_points[item]]


def map_figure(maps: list[UserMap]) -> Figure:
    """One panel per checkpoint: users as stars with their ids, lines to their items, dots of the same colour."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.5 * len(maps), 5.6), layout="constrained")
    for axis, panel in zip(figure.subplots(1, len(maps), squeeze=False)[0], maps, strict=True):
        colours = _colours(len(panel.users))
        _draw_lines(axis, panel, colours)
        _draw_items(axis, panel, colours)
        for colour, point in zip(colours, panel.user_points, strict=True):
            axis.scatter(*point, s=260, marker="*", color=[colour], edgecolors="black", zorder=3)
        axis.margins(0.12)
        panel_title(axis, panel.label, 5.5, [SAME] if panel.all_the_same else [])
        axis.set(xticks=[], yticks=[])
    marks = "star: user, by id; line and dot: training item, in its user's colour"
    if any(len(panel.item_points) < sum(map(len, panel.histories)) for panel in maps):
        marks += "; ring: another user of the item"
    text = fill(marks, max(40, int(5.5 * len(maps) / LETTER)))
    figure.suptitle(f"t-SNE of users and their training items\n{text}", fontsize="medium")
    figure.draw_without_rendering()  # which lays the panels out
    for axis, panel in zip(figure.axes, maps, strict=True):
        _name_users(axis, panel, _colours(len(panel.users)))
    return figure


def _draw_lines(axis: Axes, panel: UserMap, colours: np.ndarray) -> None:
    """From each user to the items of their training."""
    from matplotlib.collections import LineCollection

    for colour, history, point in zip(colours, panel.histories, panel.user_points, strict=True):
        ends = [(point, panel.item_points[item]) for item in history]
        axis.add_collection(LineCollection(ends, colors=[colour], linewidths=0.6, alpha=0.5, zorder=0))


def _name_users(axis: Axes, panel: UserMap, colours: np.ndarray) -> None:
    """The users' ids beside their stars, within the picture, where there is room apart from stars and other ids.

    A thin line leads from each to its star, and frames it. The figure's layout is to be done.
    """
    from matplotlib.text import Text

    to_pixels = axis.figure.dpi / 72
    frame = axis.get_window_extent()
    stars = axis.transData.transform(panel.user_points)
    middle = np.add(frame.min, frame.max) / 2
    taken = [(star - 9 * to_pixels, star + 9 * to_pixels) for star in stars]
    for user, colour, point, star in zip(panel.users, colours, panel.user_points, stars, strict=True):
        name = axis.annotate(
            str(user), point, (0, 0), textcoords="offset points", ha="center", va="center", fontsize="small", zorder=4,
            parse_math=False, arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.6},
            bbox={"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": colour, "linewidth": 0.6},
        )  # fmt: skip
        half = np.array(Text.get_window_extent(name).size) / 2 + 2 * to_pixels
        boxes = [(star + place - half, star + place + half) for place in _around(middle - star) * to_pixels]
        free = (box for box in boxes if _is_free(*box, frame, taken))
        low, high = box = next(free, boxes[0])
        name.set_position(tuple(((low + high) / 2 - star) / to_pixels))
        taken.append(box)


def _around(direction: np.ndarray) -> np.ndarray:
    """Places around a point, ``[n, 2]`` in points of print, the nearest first and of those the ones in a direction."""
    turns = sorted(np.linspace(-np.pi, np.pi, 24, endpoint=False), key=abs)
    angles = np.arctan2(direction[1], direction[0]) + turns
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return np.concatenate([radius * circle for radius in range(20, 200, 12)])


def _is_free(low: np.ndarray, high: np.ndarray, frame: Any, taken: list[tuple[np.ndarray, np.ndarray]]) -> bool:
    """Whether the box from `low` to `high` is within a frame and touches none of the taken ones."""
    inside = (low >= frame.min).all() and (high <= frame.max).all()
    return inside and all((high < left).any() or (low > right).any() for left, right in taken)


def _draw_items(axis: Axes, panel: UserMap, colours: np.ndarray) -> None:
    """An item of several users is a dot in the first one's colour, with a ring for each of the others."""
    points, sizes, faces, edges = [], [], [], []
    seen: Counter[str] = Counter()
    for colour, history in zip(colours, panel.histories, strict=True):
        for item in history:
            points.append(panel.item_points[item])
            sizes.append(22 + 50 * seen[item])
            faces.append((0, 0, 0, 0) if seen[item] else colour)
            edges.append(colour)
            seen[item] += 1
    x, y = np.transpose(points)
    axis.scatter(x, y, s=sizes, facecolors=faces, edgecolors=edges)


def _colours(count: int) -> np.ndarray:
    from matplotlib import colormaps

    if count <= 10:
        return colormaps["tab10"](np.arange(count))
    return colormaps["turbo"](np.linspace(0, 1, count))
