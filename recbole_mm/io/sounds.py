"""Reading sound files in full, as one channel of the rate that is asked for."""

from __future__ import annotations

from io import BufferedReader
from pathlib import Path

import numpy as np

from recbole_mm.io.errors import one_line
from recbole_mm.io.file_kinds import kind_of
from recbole_mm.io.reading import open_media

MOST_BYTES = 1 << 30
MOST_SECONDS = 3600  # 230 MB at 16 kHz; a compressed file can claim any length
BLOCK = 1 << 18
INSTALL = 'sounds need soundfile and soxr; type: pip install "recbole-mm[audio]"'


class SoundError(ValueError):
    """A sound that cannot be used, where others may be."""


def open_sound_file(file: Path) -> BufferedReader:
    """The bytes of a sound's file; raises SoundError where it is no regular file, or larger than 1 GiB."""
    return open_media(file, "sound", MOST_BYTES, SoundError)


def open_sound(file: Path, rate: int) -> np.ndarray:
    """A sound as float32 ``[n]`` in [-1, 1], the mean of its channels, resampled (soxr, high quality) to `rate` in Hz.

    WAV, FLAC, OGG, MP3 and what else libsndfile reads, whatever the file's suffix says.

    Raises:
        SoundError: there is no such file, or it is no sound, damaged, empty, not finite, or longer than an hour.
        ValueError: soundfile or soxr is not installed.
    """
    try:
        import soundfile
        import soxr
    except (ImportError, OSError) as error:  # OSError: libsndfile itself is missing
        raise ValueError(INSTALL) from error
    try:
        with open_sound_file(file) as opened, soundfile.SoundFile(opened) as sound:
            own_rate = int(sound.samplerate)
            blocks, n = [], 0
            # not sound.blocks, which fills up what a file that is cut short lacks with whatever the memory holds
            while len(block := sound.read(BLOCK, dtype="float32", always_2d=True)):
                blocks.append(block.mean(axis=1))
                n += len(block)
                if n > MOST_SECONDS * own_rate:
                    raise SoundError(f"{file} is longer than {MOST_SECONDS} seconds; cut it")
    except SoundError:
        raise
    except Exception as error:  # of libsndfile's readers, whatever the damage leads them to
        kind = kind_of(file)
        # libsndfile's own message has the open file's own name
        reason = f"it is {kind}" if kind else getattr(error, "error_string", None) or one_line(error)
        raise SoundError(f"{file} cannot be read as a sound ({reason.rstrip('.')}); replace it") from error
    samples = np.concatenate(blocks) if n else np.zeros(0, dtype=np.float32)
    if not n or not np.isfinite(samples).all():
        raise SoundError(f"{file} has {'values that are not finite' if n else 'no samples'}; replace it")
    return samples if own_rate == rate else soxr.resample(samples, own_rate, rate, quality="HQ").astype(np.float32)
