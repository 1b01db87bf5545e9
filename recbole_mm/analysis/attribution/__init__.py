"""Which part of a picture a recommender uses (BeFA, BeCAM)."""

from recbole_mm.analysis.attribution.entry import write_attribution

__all__ = ["write_attribution"]
