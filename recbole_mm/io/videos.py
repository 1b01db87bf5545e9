"""Frames of video files."""

from __future__ import annotations

from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_mm.io.file_kinds import kind_of
from recbole_mm.io.pictures import check_sides
from recbole_mm.io.reading import open_media

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

MOST_BYTES = 1 << 34
MOST_PIXELS = 1 << 26  # of a frame
INSTALL = 'videos need PyAV and Pillow; type: pip install "recbole-mm[clip,video]"'


class VideoError(ValueError):
    """A video that cannot be used, where others may be."""


def open_video_file(file: Path) -> BufferedReader:
    """The bytes of a video's file; raises VideoError where it is no regular file, or larger than 16 GiB."""
    return open_media(file, "video", MOST_BYTES, VideoError)


def open_frames(file: Path, count: int) -> list[Picture]:
    """`count` frames of a video as Pillow images in RGB, from the middles of as many equal parts of its time.

    A video with fewer frames gives some of them again.

    Raises:
        VideoError: there is no such file, or it is no video, damaged, or its frames are larger than 67 million pixels,
            or one side is over 200 times the other.
        ValueError: PyAV or Pillow is not installed.
    """
    try:
        import av
        import PIL.Image  # noqa: F401
    except ImportError as error:
        raise ValueError(INSTALL) from error
    try:
        with open_video_file(file) as opened, av.open(opened, "r") as container:
            stream = container.streams.video[0]
            times = sorted(packet.pts for packet in container.demux(stream) if packet.pts is not None)
            if not times:
                raise VideoError(f"{file} has no frames; replace it")
            wanted = [times[int((part + 0.5) * len(times) / count)] for part in range(count)]
            return [_frame(container, stream, time) for time in wanted]
    except VideoError:
        raise
    except Exception as error:  # of ffmpeg's readers, whatever the damage leads them to
        reason = "it has no frames" if isinstance(error, av.EOFError) else str(error)
        if isinstance(error, av.InvalidDataError | IndexError):
            kind = kind_of(file) or "no video"
            reason = f"it is {'no whole video' if kind.startswith(('MP4', 'Matroska')) else kind}"
        raise VideoError(f"{file} cannot be read as a video ({reason}); replace it") from error


def _frame(container: Any, stream: Any, time: int) -> Picture:
    """The first frame that is shown at a time or later; raises VideoError where there is none."""
    container.seek(time, stream=stream)  # to the key frame before, from which the others are computed
    last = None
    for last in container.decode(stream):
        if last.pts is not None and last.pts >= time:
            break
    if last is None:
        raise VideoError(f"{container.name} has no frame at {time}; replace it")
    if last.width * last.height > MOST_PIXELS:
        raise VideoError(f"{container.name} has frames of {last.width} x {last.height} pixels, too many")
    check_sides(last.width, last.height)
    return last.to_image()
