"""Missing modalities on purpose: rows of features that a share of the items loses, as if their files lacked them."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np


def hide(feature: np.ndarray, present: np.ndarray, name: str, tokens: Sequence[str], config: Any) -> None:
    """Take the rows of the items that lose them, ``missing_share``, in place.

    Args:
        feature: ``[n_items, width]``.
        present: which items have a row, bool ``[n_items]``.
        name: of the modality.
        tokens: ids by internal id.
        config: of the run.

    Raises:
        ValueError: no item keeps a row, or all were to have one.
    """
    share = (config["missing_share"] or {}).get(name)
    if share is None or config["missing_modality"] == "drop":  # whose items are left out before
        return
    hidden = hidden_by(config, name, tokens)
    feature[hidden], present[hidden] = 0, False
    absent, n_items = int((~present[1:]).sum()), len(present) - 1
    if absent == n_items:
        raise ValueError(f"missing_share.{name}: {share} leaves no item with {name} features; set less")
    if absent and config["missing_modality"] == "error":
        raise ValueError(
            f"missing_share.{name}: with {share} {absent} of {n_items} items have no {name} features, which "
            "missing_modality: error refuses; set another"
        )


def hidden_by(config: Any, name: str, tokens: Sequence[str]) -> np.ndarray:
    """Which items lose their row of a modality by a run's settings, bool ``[n_items]``."""
    share = (config["missing_share"] or {}).get(name)
    if share is None:
        return np.zeros(len(tokens), dtype=bool)
    seed = config["seed"] if config["missing_seed"] is None else config["missing_seed"]
    return hidden_items(tokens, share, name, seed, config["missing_together"])


def hidden_items(tokens: Sequence[str], share: float, name: str, seed: int, together: bool) -> np.ndarray:
    """Which items lose their row of a modality, bool ``[n_items]``: a uniform sample of them.

    It is of the ids in the files, whatever the internal ones are. The items of a smaller share are among those of a
    larger one.

    Args:
        tokens: ids by internal id; the first is [PAD]'s, which is not drawn.
        share: of the items.
        name: of the modality.
        seed: of the draw.
        together: whether all modalities lose the same items, as far as their shares are the same.
    """
    in_order = 1 + np.argsort(np.asarray(tokens[1:], dtype=str), kind="stable")
    keys = [seed] if together else [seed, zlib.crc32(name.encode())]
    drawn = np.random.default_rng(keys).permutation(in_order)[: round(share * len(in_order))]
    hidden = np.zeros(len(tokens), dtype=bool)
    hidden[drawn] = True
    return hidden
