"""Missing modalities on purpose: rows of features that a share of the items loses, as if their files lacked them."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np


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
