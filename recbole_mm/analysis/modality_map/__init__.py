"""Where items' modality features lie, before and after adapters or tuning (BeFA, PTMRec)."""

from recbole_mm.analysis.modality_map.entry import write_modality_map

__all__ = ["write_modality_map"]
