"""Sounds of items, cut to what an encoder hears at once."""

from __future__ import annotations

from io import BufferedReader
from pathlib import Path

import numpy as np

from recbole_mm.extraction.contents import FileContents, MissingContent
from recbole_mm.io.sounds import SoundError, open_sound, open_sound_file

SHORTEST = 0.1  # seconds, below which there is nothing to hear
WORTH = 0.5  # of a window: a shorter rest of a sound is left out


class Sounds(FileContents):
    """Sounds by item, cut to windows that follow one another; see :class:`FileContents`.

    Args:
        rate: in Hz, the encoder's.
        seconds: of a window, the encoder's.
    """

    suffixes = (".wav", ".aif", ".aiff", ".au", ".flac", ".mp3", ".oga", ".ogg", ".opus")
    noun, option = "sound", "--audio"

    def __init__(self, dataset_dir: Path, folder: Path, rate: int, seconds: float, column: str | None = None):
        super().__init__(dataset_dir, folder, column)
        self.rate, self.window = rate, int(rate * seconds)
        self.facts = {"rate": rate, "seconds": seconds}

    def open(self, file: Path) -> list[np.ndarray]:
        """The windows of a file, float32 ``[at most rate * seconds]``."""
        try:
            samples = open_sound(file, self.rate)
        except SoundError as error:
            raise MissingContent(str(error)) from error
        if len(samples) < SHORTEST * self.rate:
            raise MissingContent(f"{file} is shorter than {SHORTEST} seconds; replace it")
        windows = [samples[start : start + self.window] for start in range(0, len(samples), self.window)]
        return [window for window in windows if len(window) >= WORTH * self.window] or windows[:1]

    def open_bytes(self, file: Path) -> BufferedReader:
        try:
            return open_sound_file(file)
        except SoundError as error:
            raise MissingContent(str(error)) from error
