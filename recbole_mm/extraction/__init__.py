"""Modality features from raw content: a user's own pictures and texts."""

from recbole_mm.extraction.contents import Contents, MissingContent, Pictures, Texts
from recbole_mm.extraction.extract import Extraction, extract
from recbole_mm.extraction.tfidf import extract_tfidf

__all__ = ["Contents", "Extraction", "MissingContent", "Pictures", "Texts", "extract", "extract_tfidf"]
