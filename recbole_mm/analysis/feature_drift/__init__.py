"""How far features are from behaviour, before and after the feature adapter (BeFA)."""

from recbole_mm.analysis.feature_drift.entry import write_feature_drift

__all__ = ["write_feature_drift"]
