"""What a process that prepares pictures does: Pillow and numpy alone, never torch's threads or a device."""

from __future__ import annotations

import hashlib
import multiprocessing
import signal
import sys
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recbole_mm.encoder.preparation import Preparation
from recbole_mm.extraction.pixel_cache import write_pixels
from recbole_mm.io.pictures import PictureError, open_picture, open_picture_file


@dataclass(frozen=True)
class Prepared:
    """What became of a picture.

    Attributes:
        digest: of its file's bytes; empty where it cannot be read.
        reason: why it is missing; None where it is not.
    """

    digest: str = ""
    reason: str | None = None


Outcome = tuple[list[Prepared], Path | None]


def prepare_pictures(preparation: Preparation, files: list[Path], folder: Path) -> Outcome:
    """Write the pixels of picture files into a cache's folder; what became of each, and the file, if there is any.

    Raises:
        OSError: the folder cannot be written.
        ValueError: Pillow is not installed.
    """
    outcomes, pixels = [], []
    for file in files:
        try:
            with open_picture_file(file) as opened:
                content = opened.read()
            pixels.append(preparation(open_picture(file, content)))
            outcomes.append(Prepared(hashlib.sha256(content).hexdigest()))
        except (PictureError, OSError) as error:
            outcomes.append(Prepared(reason=str(error)))
    if not pixels:
        return outcomes, None
    return outcomes, write_pixels(
        folder, [outcome.digest for outcome in outcomes if outcome.reason is None], np.stack(pixels)
    )


class Workers:
    """Processes that prepare pictures.

    Copies of this process where the system makes such, as torch's loaders of data are: a new one would take seconds of
    processor time to import what it needs.

    Args:
        n: how many.
        preparation: sent to each once.
        folder: of the cache.
    """

    def __init__(self, n: int, preparation: Preparation, folder: Path):
        self.n = n
        context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
        self._pool = ProcessPoolExecutor(n, context, initializer=_start, initargs=(preparation, folder))

    def begin(self, files: list[Path]) -> Future[Outcome]:
        """Have :func:`prepare_pictures` done."""
        return self._pool.submit(_prepare, files)

    def stop(self) -> None:
        """End the processes after what they are at."""
        self._pool.shutdown(cancel_futures=True)


_preparation: tuple[Preparation, Path]


def _start(preparation: Preparation, folder: Path) -> None:
    global _preparation
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal; the first one ends us
    _preparation = preparation, folder


def _prepare(files: list[Path]) -> Outcome:
    preparation, folder = _preparation
    return prepare_pictures(preparation, files, folder)
