"""Pictures of items in rows under headings: Figure 6 of the MARGO paper."""

from __future__ import annotations

import logging
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recbole_mm.analysis.figures import save_figure
from recbole_mm.io.pictures import PictureError, open_picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIDE = 240  # pixels a picture is shrunk to fit: 1.6 inches at the resolution of our figures
BOX = (1.6, 1.8)  # inches that a picture fits
CARD = (1.75, 2.5)  # inches, with three lines of title and the note below the picture
TEXT_LINES, TEXT_LINE = 6, 0.115  # of a card's text, and inches of one
MARGIN = 0.1  # inches on either side
BAR = 0.6  # inches of the colour bar with its labels
LETTER, LINE = 0.09, 0.19  # inches of a heading's letter and line


@dataclass(frozen=True)
class Card:
    """One item of a sheet, with a line about it; `picture` is None where there is no file.

    `text`, what a model reads of the item, stands below, its first lines.
    """

    title: str
    note: str
    picture: Path | None
    text: str = ""


def contact_sheet(rows: list[tuple[str, list[Card]]], colours: str | None = None) -> tuple[Figure, list[Path]]:
    """Draw one row of cards under each heading.

    Args:
        rows: headings and cards.
        colours: matplotlib's name of those of heat maps, each on its own scale, for a colour bar below.

    Returns:
        a matplotlib Figure, and the picture files that could not be read, whose cards say so.
    """
    from matplotlib.figure import Figure

    width = 2 * MARGIN + CARD[0] * max(len(cards) for _, cards in rows)
    headings = [textwrap.wrap(heading, int((width - 2 * MARGIN) / LETTER)) for heading, _ in rows]
    card = CARD[1] + (
        TEXT_LINES * TEXT_LINE + MARGIN if any(content.text for _, cards in rows for content in cards) else 0
    )
    height = card * len(rows) + sum(LINE * len(lines) + MARGIN for lines in headings)
    bar = BAR if colours else 0.0
    figure = Figure(figsize=(width, height + bar))
    if colours:
        _colour_bar(figure, colours)
    # one for all cards, in inches from the upper left: fast for many
    axis = figure.add_axes((0, bar / (height + bar), 1, height / (height + bar)))
    unreadable: list[Path] = []
    top = 0.0
    style: dict[str, Any] = {"va": "top", "fontsize": 10, "fontweight": "bold", "parse_math": False}
    for lines, (_, cards) in zip(headings, rows, strict=True):
        axis.text(MARGIN, top + MARGIN / 2, "\n".join(lines), **style)
        top += LINE * len(lines) + MARGIN
        for column, content in enumerate(cards):
            is_readable = _draw_card(axis, content, MARGIN + CARD[0] * (column + 0.5), top)
            if content.picture is not None and not is_readable:
                unreadable.append(content.picture)
        top += card
    axis.set(xlim=(0, width), ylim=(height, 0))
    axis.set_axis_off()
    return figure, unreadable


def write_contact_sheet(file: Path, rows: list[tuple[str, list[Card]]]) -> tuple[list[Path], list[Path]]:
    """Write :func:`contact_sheet` and warn of pictures that it leaves out; gives its paths and these pictures."""
    figure, unreadable = contact_sheet(rows)
    if unreadable:
        names = ", ".join(str(picture) for picture in dict.fromkeys(unreadable))
        logging.getLogger(__name__).warning("left out, as they cannot be read as pictures: %s", names)
    return save_figure(figure, file), unreadable


def _colour_bar(figure: Figure, colours: str) -> None:
    from matplotlib.cm import ScalarMappable

    width, height = figure.get_size_inches()
    place = figure.add_axes(((width - 3) / 2 / width, 0.35 / height, 3 / width, 0.12 / height))
    bar = figure.colorbar(ScalarMappable(cmap=colours), cax=place, orientation="horizontal", ticks=[0, 1])
    bar.ax.set_xticklabels(["least of the map", "most"], fontsize=8)


def _draw_card(axis: Axes, card: Card, centre: float, top: float) -> bool:
    """False where the picture could not be read."""
    lines = [*textwrap.wrap(card.title, 24, max_lines=3, placeholder=" ..."), card.note]
    # titles may hold dollar signs, which are no formulae
    style: dict[str, Any] = {"ha": "center", "va": "top", "fontsize": 8, "parse_math": False}
    axis.text(centre, top + BOX[1] + 0.05, "\n".join(lines), **style)
    text = textwrap.wrap(card.text, 33, max_lines=TEXT_LINES, placeholder=" ...")
    axis.text(centre, top + CARD[1] + 0.02, "\n".join(text), **{**style, "fontsize": 6, "color": "0.25"})
    pixels = None if card.picture is None else read_picture(card.picture)
    if pixels is None:
        reason = "no picture" if card.picture is None else "unreadable"
        axis.text(centre, top + BOX[1] / 2, reason, ha="center", va="center", fontsize=8, color="0.4")
        return card.picture is None
    scale = min(BOX[0] / pixels.shape[1], BOX[1] / pixels.shape[0])
    half, bottom = scale * pixels.shape[1] / 2, top + BOX[1]
    extent = (centre - half, centre + half, bottom, bottom - scale * pixels.shape[0])
    axis.imshow(pixels, extent=extent, aspect="auto")
    return True


def read_picture(file: Path) -> np.ndarray | None:
    """Pixels ``[height, width, 3]``, uint8, shrunk to fit 240 x 240; None where it is no readable picture."""
    try:
        picture = open_picture(file)
    except PictureError:
        return None
    picture.thumbnail((SIDE, SIDE))
    return np.asarray(picture)
