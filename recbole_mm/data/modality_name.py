"""Which names a modality may have: those that can be the suffix of its file."""

from __future__ import annotations

import re

from recbole_mm.data.file_form import RECBOLE_SUFFIXES

# what people call the modalities in the names of their files and columns
_USUAL = {
    "visual": ("image", "img", "visual", "cover", "poster", "picture", "photo"),
    "textual": ("text", "txt", "textual", "title", "description", "sentence"),
    "acoustic": ("audio", "acoustic", "sound"),
    "video": ("video", "vid"),
}


def check_modality_name(modality: str) -> None:
    """Raise ValueError where a modality cannot have this name."""
    if not re.fullmatch("[a-z][a-z0-9_]*", modality) or modality in RECBOLE_SUFFIXES:
        raise ValueError(
            f"{modality!r} cannot name a modality: use small letters, digits and _, the first a letter; "
            f"{', '.join(sorted(RECBOLE_SUFFIXES))} are RecBole's own"
        )


def names_modality(name: str) -> bool:
    """Whether a file's name begins with what people call a modality."""
    first = re.split(r"[^a-z]", name.lower())[0]
    return any(first in names for names in _USUAL.values())


def modality_of(name: str, *further: str) -> str:
    """The modality that a file or column is about: ``image_feat`` is visual; others keep their name.

    Args:
        further: parts of the name that tell several of one modality apart, such as the encoder's.
    """
    words = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    plain = re.sub(r"_?(feat|feats|feature|features|emb|embs|embedding|embeddings|vector|vectors)$", "", words)
    first = plain.split("_")[0]
    known = next((modality for modality, names in _USUAL.items() if first in names), None)
    parts = [known if known is not None and "_" not in plain else plain or words, *further]
    modality = re.sub(r"[^a-z0-9]+", "_", "_".join(parts).lower()).strip("_")
    return modality if modality[:1].isalpha() and modality not in RECBOLE_SUFFIXES else f"modality_{modality}"
