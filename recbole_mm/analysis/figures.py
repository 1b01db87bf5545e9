"""Figures fit for print: written one way, titled within their panels, and what is constant is said to be so."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from recbole_mm.io.files import atomic_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}  # no dates: a figure is the same each time
STYLE: dict[Any, Any] = {"svg.hashsalt": "recbole_mm", "pdf.fonttype": 42}  # 42: letters stay text, as publishers ask
LETTER = 0.075  # inches of a small title's letter, at most, on average
SAME = "all vectors are the same within rounding: the places mean nothing"  # a note of maps
ROUNDING = 2.0**-20  # relative: eight units of the last place of float32


def check_can_draw() -> None:
    """Raise ValueError where matplotlib, an extra, is not installed: before the work that figures show, not after."""
    if find_spec("matplotlib") is None:
        raise ValueError('figures need matplotlib; type: pip install "recbole-mm[plot]"')


def figure_files(file: Path) -> list[Path]:
    """The paths of a figure: `file` as PNG, and beside it SVG and PDF."""
    return [file.with_suffix(f".{form}") for form in FORMATS]


def save_figure(figure: Figure, file: Path) -> list[Path]:
    """Write a matplotlib Figure as :func:`figure_files` names it, each whole or not at all; gives the paths.

    Its folder is made where there is none. All forms have the layout of the first: finding it takes as long as drawing.
    """
    from matplotlib import rc_context

    file.parent.mkdir(parents=True, exist_ok=True)
    written = figure_files(file)
    with rc_context(STYLE):
        for target, (form, metadata) in zip(written, FORMATS.items(), strict=True):
            with atomic_file(target) as temporary:
                figure.savefig(temporary, dpi=150, format=form, metadata=metadata)
            figure.set_layout_engine("none")
    return written


def panel_title(axis: Axes, text: str, width: float, notes: Iterable[str] = ()) -> None:
    """Put a title over a panel, in lines that stay within it, and each note below in lines of its own.

    Args:
        axis: of the panel.
        text: shown as it is; dollar signs are no formulae.
        width: of the panel with its labels, in inches.
        notes: what a reader must know of the panel.
    """
    lines = [fill(line, max(12, int(width / LETTER))) for line in (text, *notes)]
    axis.set_title("\n".join(lines), fontsize="small", parse_math=False)


def count_upwards(axis: Axes) -> None:
    """Have an axis of counts show whole numbers alone."""
    from matplotlib.ticker import MaxNLocator

    axis.yaxis.set_major_locator(MaxNLocator(integer=True))


def is_constant(values: np.ndarray, scale: float = 0.0) -> bool:
    """Whether values ``[n]`` differ by no more than rounding in single precision; so do none.

    Args:
        values: any shape.
        scale: size of the numbers that the values are differences of; their own where that is larger.
    """
    if np.size(values) == 0:
        return True
    return bool(np.ptp(values) <= ROUNDING * max(float(np.abs(values).max()), scale))


def described(name: str, values: np.ndarray, *numbers: str, scale: float = 0.0) -> str:
    """A legend's line: the name with its numbers, or that all values are the same.

    Args:
        name: of the values.
        values: ``[n]``.
        numbers: such as `mean 0.5`.
        scale: as for :func:`is_constant`.
    """
    if np.size(values) == 0:
        return f"{name}: no values"
    if is_constant(values, scale):
        return f"{name}: constant, {float(np.mean(values)):.3g}"
    return f"{name}: {', '.join(numbers)}"
