"""Textual features without weights: TF-IDF and a truncated singular value decomposition."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recbole_mm.extraction.contents import MissingContent, Texts
from recbole_mm.extraction.extract import Extraction, extracting, write_features

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

TFIDF = "tfidf"
MIN_ITEMS = 2  # a word of one item says nothing about any other


def extract_tfidf(
    dataset_dir: Path, modality: str, texts: Texts, *, width: int = 384, half: bool = False
) -> Extraction:
    """Write `<dataset>.<modality>.arrow`: TF-IDF of the words (1 + log of their counts), reduced, each row of norm 1.

    An item whose words are all its own has no features. The same texts give the same values.

    Raises:
        ValueError: `width` is above the number of texts or of words; no word is in two texts.
        OSError: another process extracts this modality, or the file cannot be written.
    """
    with extracting(modality, dataset_dir) as path:
        return _extract(path, texts, width, half)


def _extract(path: Path, texts: Texts, width: int, half: bool) -> Extraction:
    found, missing = _split(texts)
    if not found:
        return write_features(path, {}, texts, {"revision": "", "encoder": TFIDF, "preprocessing": {}}, missing)
    values, facts = _reduce(list(found.values()), width)
    known = np.linalg.norm(values, axis=1) > 0
    values = values.astype(np.float16 if half else np.float32)
    rows = {item: row for item, row, kept in zip(found, values, known, strict=True) if kept}
    missing |= {item: "none of its words is in another text" for item in found if item not in rows}
    facts["preprocessing"] |= texts.facts
    return write_features(path, rows, texts, facts, missing)


def _projected(weights: csr_matrix, width: int) -> np.ndarray:
    """Rows in the space of the first right singular vectors, `[n_texts, width]`, as sklearn's TruncatedSVD gives them.

    That class asks for two words and divides by the variance of all, which is none where all texts are alike.
    """
    from sklearn.utils.extmath import randomized_svd, svd_flip

    left, _, right = randomized_svd(weights, width, n_iter=5, random_state=0, flip_sign=False)
    _, right = svd_flip(left, right, u_based_decision=False)
    return weights @ right.T


def _split(texts: Texts) -> tuple[dict[str, str], dict[str, str]]:
    """Text by item, and the reason by item that has none."""
    found, missing = {}, {}
    for item in texts.items:
        try:
            found[item] = texts.text(item)
        except MissingContent as reason:
            missing[item] = str(reason)
    return found, missing


def _reduce(texts: list[str], width: int) -> tuple[np.ndarray, dict[str, Any]]:
    """Rows ``[n_texts, width]`` of norm 1, or 0 where a text shares no word, and what describes them."""
    import sklearn
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import normalize

    settings = {"sublinear_tf": True, "min_df": MIN_ITEMS}
    try:
        weights = TfidfVectorizer(**settings).fit_transform(texts)
    except ValueError as error:
        raise ValueError(f"TF-IDF finds no word that two of the {len(texts)} texts share") from error
    if width < 1:
        raise ValueError(f"--width: {width} must be at least 1")
    limit = min(weights.shape)
    if width > limit:
        logging.getLogger(__name__).warning(
            "the features are %d wide instead of %d, as there are %d texts and %d words that two of them share",
            limit, width, *weights.shape,
        )  # fmt: skip
        width = limit
    reduced = _projected(weights, width)
    reduced[np.asarray(weights.sum(axis=1)).ravel() == 0] = 0  # exactly, where rounding may leave specks
    facts = {
        "encoder": TFIDF,
        "revision": f"scikit-learn {sklearn.__version__}",
        "preprocessing": {**settings, "components": width, "normalize": "l2"},
    }
    return normalize(reduced), facts
