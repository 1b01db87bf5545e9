"""Users among their items, and how evenly items spread (LUDP)."""

from recbole_mm.analysis.embedding_map.entry import write_embedding_map

__all__ = ["write_embedding_map"]
