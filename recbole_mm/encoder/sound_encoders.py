"""Encoders of sounds from folders: CLAP, Whisper, wav2vec 2.0, HuBERT, MERT, AST and others."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from recbole_mm.encoder.content_encoder import ContentEncoder
from recbole_mm.encoder.pretrained import folder_config, projected, provenance, reading, reads, stored_weights
from recbole_mm.encoder.processor_settings import PROCESSOR_FILE
from recbole_mm.encoder.safety import EncoderError
from recbole_mm.encoder.sound_settings import check_sound_settings, check_strides
from recbole_mm.encoder.trial import try_encoder
from recbole_mm.io.reading import open_regular
from recbole_mm.registry import register_encoder

SECONDS = 10.0  # of a window, where the model has none of its own
AUDIO_INPUTS = ("input_values", "input_features")
MERT = "mert_model"
WHISPER_HOP = 2  # frames of the spectrogram that a state is of


@register_encoder("auto-sounds", reads="sounds")
class AutoSounds(ContentEncoder):
    """Any model of transformers that reads sounds.

    The feature is a dual encoder's projected one (CLAP), the pooled output (AST), or the mean over time of the last
    states of the encoder (Whisper, wav2vec 2.0, HuBERT, MERT), of Whisper's 30 seconds those that the sound fills.

    Attributes:
        rate: that it hears, in Hz.
        seconds: that it hears at once.
    """

    has_files = True

    def __init__(self, model: Any, extractor: Any, facts: dict[str, Any], pooling: str):
        super().__init__(facts)
        self.model, self.extractor, self.pooling = model, extractor, pooling
        self.rate = int(extractor.sampling_rate)
        self.seconds = seconds_of(extractor)

    def forward(self, contents: list[np.ndarray]) -> Tensor:
        """Features ``[n, width]`` of sounds, float32 ``[samples]`` each; those of one length at once, unpadded."""
        rows: list[Tensor | None] = [None] * len(contents)
        order = sorted(range(len(contents)), key=lambda place: len(contents[place]))
        for _, group in groupby(order, key=lambda place: len(contents[place])):
            places = list(group)
            for place, row in zip(places, self._features([contents[place] for place in places]), strict=True):
                rows[place] = row
        return torch.stack([row for row in rows if row is not None])

    def _features(self, sounds: list[np.ndarray]) -> Tensor:
        inputs = self.extractor(sounds, sampling_rate=self.rate, return_tensors="pt").to(self.device)
        if self.pooling == "projection":
            return projected(self.model.get_audio_features(**inputs))
        output = self.model(**{name: value for name, value in inputs.items() if name in AUDIO_INPUTS})
        if self.pooling == "pooler":
            return output.pooler_output
        states = output.last_hidden_state
        if self.pooling == "mean of what is heard":
            frames = -(-len(sounds[0]) // self.extractor.hop_length)
            states = states[:, : -(-frames // WHISPER_HOP)]
        return states.mean(dim=1)

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Any: what hears nothing is an error when it is loaded."""
        return True

    @classmethod
    def load(cls, name: str, folder: Path, device: str) -> Self:
        """Raises ValueError where the model reads no sounds, or its extractor prepares none for it."""
        from transformers import AutoFeatureExtractor

        model, pooling = _mert(folder) if _model_type(folder) == MERT else _any(folder)
        check_sound_settings(folder)
        with reading(PROCESSOR_FILE):
            extractor = AutoFeatureExtractor.from_pretrained(folder, trust_remote_code=False)
        if not hasattr(extractor, "sampling_rate"):
            raise EncoderError(f"{type(extractor).__name__} prepares no sounds")
        check_strides(model.config, extractor.sampling_rate)
        settings = {"extractor": type(extractor).__name__, "settings": extractor.to_dict()}
        encoder = cls(model, extractor, provenance(name, folder, pooling=pooling, **settings), pooling)
        encoder._try()
        return encoder

    def _try(self) -> None:
        """Raise EncoderError where the model and the extractor do not fit: they are tried on a second of a tone."""
        tone = np.sin(np.linspace(0, 2 * np.pi * 440, self.rate, dtype=np.float32))
        try_encoder(
            lambda: self.eval()([tone]),
            "a second of a tone exhausts",
            f"{PROCESSOR_FILE}: what {type(self.extractor).__name__} makes of a tone is not what "
            f"{type(self.model).__name__} reads",
            "both files",
            "its features of a tone are NaN or infinite; replace its files",
        )


def seconds_of(extractor: Any) -> float:
    """What an extractor makes of a window: CLAP's 10 seconds, Whisper's 30, AST's frames, otherwise SECONDS."""
    own = getattr(extractor, "max_length_s", None) or getattr(extractor, "chunk_length", None)
    frames = getattr(extractor, "max_length", None)  # of 10 ms
    return float(own or (frames and frames / 100) or SECONDS)


def _any(folder: Path) -> tuple[Any, str]:
    """The model, and how its states become a feature."""
    from transformers import AutoModel

    config = folder_config(folder)
    if not any(reads(config, main, "get_audio_features") for main in AUDIO_INPUTS):
        raise EncoderError(f"it is of type '{config.model_type}', which reads no sounds")
    model = stored_weights(AutoModel, folder, config)
    if hasattr(model, "get_audio_features"):
        return model, "projection"
    if config.model_type == "whisper":
        return model.get_encoder(), "mean of what is heard"
    return model.get_encoder() if config.is_encoder_decoder else model, _pooling(config)


def _pooling(config: Any) -> str:
    return "pooler" if config.model_type == "audio-spectrogram-transformer" else "mean"


def _mert(folder: Path) -> tuple[Any, str]:
    """MERT's weights in HuBERT's class, which they are made for; its folder's code is not run.

    Raises:
        EncoderError: a setting makes it another network.
    """
    from transformers import HubertConfig, HubertModel

    settings = _settings(folder)
    for key in ("deepnorm", "feature_extractor_cqt"):
        if settings.get(key):
            raise EncoderError(f"its {key} is a part that HuBERT has not, and its own code is not run")
    if settings.get("attention_relax", -1) > 0:
        raise EncoderError("its attention_relax is a part that HuBERT has not, and its own code is not run")
    known = {key: value for key, value in settings.items() if key not in ("model_type", "auto_map", "architectures")}
    with reading("config.json"):
        config = HubertConfig(**known)
    return stored_weights(HubertModel, folder, config), "mean"


def _model_type(folder: Path) -> str | None:
    return _settings(folder).get("model_type")


def _settings(folder: Path) -> dict[str, Any]:
    with open_regular(folder / "config.json") as file:
        return dict(json.load(file))
