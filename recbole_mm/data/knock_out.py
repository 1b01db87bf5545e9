"""Knock-outs: what a modality's features are replaced by, to see what they were worth."""

from __future__ import annotations

import zlib
from typing import Literal, get_args

import numpy as np

KnockOut = Literal["shuffle", "constant", "noise", "near_one", "zero", "mean"]
KNOCK_OUTS: tuple[str, ...] = get_args(KnockOut)


def knock_out(feature: np.ndarray, present: np.ndarray, kind: str, name: str, seed: int) -> None:
    """Replace the rows that items have of their own, in place, before anything is scaled or built from them.

    ``shuffle`` gives each item another's row, which keeps the distribution; a different order for each modality.
    ``constant``: all ones. ``noise``: standard normal. ``near_one``: normal around 1 with deviation 0.1, as Ye et al.
    (ECIR 2026) have it, whose rows are nearly parallel. ``zero``, ``mean``: the mean row.

    Args:
        feature: ``[n_items, width]``.
        present: which items have a row, bool ``[n_items]``.
        kind: of :data:`KNOCK_OUTS`.
        name: of the modality.
        seed: of the run.
    """
    generator = np.random.default_rng([seed, zlib.crc32(name.encode())])
    rows = np.flatnonzero(present)
    shape = (len(rows), feature.shape[1])
    if kind == "shuffle":
        feature[rows] = feature[generator.permutation(rows)]
    elif kind == "noise":
        feature[rows] = generator.standard_normal(shape, dtype=np.float32)
    elif kind == "near_one":
        feature[rows] = 1 + 0.1 * generator.standard_normal(shape, dtype=np.float32)
    elif kind == "mean":
        feature[rows] = feature[rows].mean(axis=0, dtype=np.float64)
    else:
        feature[rows] = {"constant": 1, "zero": 0}[kind]
