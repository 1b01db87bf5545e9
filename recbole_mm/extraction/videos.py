"""Videos of items, as some of their frames."""

from __future__ import annotations

from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING

from recbole_mm.extraction.contents import FileContents, MissingContent
from recbole_mm.io.videos import VideoError, open_frames, open_video_file

if TYPE_CHECKING:
    from PIL.Image import Image as Picture


class Videos(FileContents):
    """Frames of items' videos, which an encoder of pictures reads; see :class:`FileContents`.

    Args:
        frames: of a video, from all parts of it alike.
    """

    suffixes = (".mp4", ".avi", ".flv", ".m4v", ".mkv", ".mov", ".mpeg", ".mpg", ".ogv", ".ts", ".webm", ".wmv")
    noun, option = "video", "--videos"

    def __init__(self, dataset_dir: Path, folder: Path, frames: int = 8, column: str | None = None):
        super().__init__(dataset_dir, folder, column)
        self._frames = frames
        self.facts = {"frames": frames}

    def open(self, file: Path) -> list[Picture]:
        try:
            return open_frames(file, self._frames)
        except VideoError as error:
            raise MissingContent(str(error)) from error

    def open_bytes(self, file: Path) -> BufferedReader:
        try:
            return open_video_file(file)
        except VideoError as error:
            raise MissingContent(str(error)) from error
