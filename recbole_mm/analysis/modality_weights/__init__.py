"""How far items trust each modality (MARGO)."""

from recbole_mm.analysis.modality_weights.entry import write_modality_weights

__all__ = ["write_modality_weights"]
