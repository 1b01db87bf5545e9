"""How each modality separates training triplets (POWERec)."""

from recbole_mm.analysis.weak_modality.entry import write_weak_modality

__all__ = ["write_weak_modality"]
