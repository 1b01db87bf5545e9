"""What the settings of a feature extractor of sounds may be, looked at before a library makes its filters by them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from recbole_mm.encoder.processor_settings import check_values, processor_settings
from recbole_mm.encoder.safety import EncoderError

MOST_STATES = 1000  # of a second of sound

Rate = Annotated[int, Field(ge=4000, le=192_000)]
Width = Annotated[int, Field(ge=1, le=1 << 16)]
Seconds = Annotated[float, Field(ge=0.1, le=600)]


class SoundSettings(BaseModel):
    """Of CLAP's, Whisper's, wav2vec 2.0's and the audio spectrogram transformer's extractors, and others like them."""

    model_config = ConfigDict(strict=True)

    sampling_rate: Rate = 16_000
    feature_size: Width = 1
    num_mel_bins: Width | None = None
    hop_length: Annotated[int, Field(ge=16, le=1 << 16)] | None = None
    n_fft: Width | None = None
    fft_window_size: Width | None = None
    chunk_length: Seconds | None = None
    max_length_s: Seconds | None = None
    max_length: Annotated[int, Field(ge=10, le=60_000)] | None = None  # of 10 ms
    frequency_min: FiniteFloat | None = None
    frequency_max: FiniteFloat | None = None
    mean: FiniteFloat | None = None
    std: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    dither: Annotated[float, Field(ge=0, le=0)] | None = None  # noise, by which no two extractions would be alike
    padding_value: FiniteFloat | None = None
    # the words of CLAP's, and of what transformers itself pads
    padding: Literal["repeatpad", "repeat", "pad", "longest", "max_length", "do_not_pad", True, False] | None = None
    truncation: Literal["rand_trunc", "fusion", True, False] | None = None
    padding_side: Literal["right", "left"] | None = None
    do_normalize: bool | None = None
    return_attention_mask: bool | None = None


def check_sound_settings(folder: Path) -> None:
    """Raise EncoderError where there are none, or no sound can be prepared by one of them."""
    for name, settings in processor_settings(folder, "feature extractor"):
        check_values(name, settings, SoundSettings)


def check_strides(config: Any, rate: int) -> None:
    """Raise EncoderError where the convolutions before wav2vec's layers leave them no or far too many states.

    Args:
        config: of the model.
        rate: in Hz.
    """
    strides = getattr(config, "conv_stride", None)
    if strides is None:
        return
    if not all(isinstance(stride, int) and stride > 0 for stride in strides):
        raise EncoderError(f"config.json: conv_stride is {list(strides)}; give whole numbers above 0")
    states = rate / math.prod(strides)
    if not 1 <= states <= MOST_STATES:
        raise EncoderError(
            f"config.json: conv_stride {list(strides)} makes {states:g} states of a second of sound; give from 1 to "
            f"{MOST_STATES:,}"
        )
