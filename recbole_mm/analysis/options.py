"""How an analysis of ours is registered, and the options that several of them have."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from inspect import signature
from pathlib import Path
from typing import Any, TypeVar

from recbole_mm.load import OpenedCheckpoint
from recbole_mm.registry import register_analysis

Write = TypeVar("Write", bound=Callable[..., list[Path]])

MOST_ITEMS = 100  # of a contact sheet's row: matplotlib draws at most 65,536 pixels


def analysis(
    name: str, *, help: str, options: Callable[[argparse.ArgumentParser], None] | None = None
) -> Callable[[Write], Write]:
    """Function decorator: register a function of the checkpoints and of options, each an argument of the same name.

    ``out``, the folder to write into, is one of them.

    Args:
        name: of the analysis.
        help: one line.
        options: adds those of its own to its parser.
    """

    def enter(write: Write) -> Write:
        own = list(signature(write).parameters)[1:]

        def run(checkpoints: list[OpenedCheckpoint], arguments: argparse.Namespace) -> list[Path]:
            chosen: dict[str, Any] = {option: getattr(arguments, option) for option in own}
            return write(checkpoints, **chosen)

        run.__module__, run.__qualname__ = write.__module__, write.__qualname__  # what the registry knows it by
        register_analysis(name, help=help, options=options)(run)
        return write

    return enter


def positive_int(text: str) -> int:
    """An argparse type: an integer of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} must be at least 1")
    return number


def comma_separated(text: str) -> list[str]:
    """An argparse type: names separated by commas."""
    return text.split(",")


def add_images(parser: argparse.ArgumentParser) -> None:
    """Add `--images`, the folder of :func:`~recbole_mm.analysis.items.item_pictures`."""
    parser.add_argument(
        "--images",
        type=Path,
        metavar="DIR",
        help="pictures <item_id>.jpg, .png, ... (default: the folder images beside the .inter, if there is one)",
    )


def add_seed(parser: argparse.ArgumentParser) -> None:
    """Add `--seed`."""
    parser.add_argument("--seed", type=int, default=0, help="of the draw and of t-SNE (default: %(default)s)")


def add_top(parser: argparse.ArgumentParser, default: int, help: str) -> None:
    """Add `--top`, which :func:`check_top` looks at."""
    parser.add_argument("--top", type=positive_int, default=default, help=f"{help} (default: %(default)s)")


def check_top(top: int, table: str) -> None:
    """Raise ValueError where so many items are too many for a contact sheet; `table` has them all."""
    if top > MOST_ITEMS:
        raise ValueError(f"--top: {top} is more than the {MOST_ITEMS} that fit a sheet; {table} has all")
