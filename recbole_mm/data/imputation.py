"""What items without features get: zeros, the mean, noise, or what the items that users have with them have."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from recbole_mm.graph import BipartiteGraph, GraphCache, SparseOperator
from recbole_mm.graph.imputation import IMPUTERS, Imputer, imputing_weights
from recbole_mm.graph.operator import square

MissingModality = Literal["mean", "zero", "random", Imputer, "drop", "error"]
_BLOCK_COLUMNS = 256


def reads_interactions(policy: str) -> bool:
    """Whether a policy fills rows by the training interactions."""
    return policy in IMPUTERS


def policy_of(config: Any) -> str:
    """``missing_modality``."""
    return config["missing_modality"] or "mean"


def policy_in_words(config: Any) -> str:
    """The policy with all that decides what it gives, such as ``multi_hop, missing_k 10, missing_steps 10``."""
    policy = policy_of(config)
    keys = ("missing_k", "missing_steps") if policy in IMPUTERS else ("seed",) if policy == "random" else ()
    return ", ".join([policy, *(f"{key} {config[key]}" for key in keys)])


def fill(
    feature: np.ndarray, present: np.ndarray, name: str, config: Any, is_centred: bool, training: BipartiteGraph | None
) -> None:
    """Give the items without a row what ``missing_modality`` says, in place.

    ``zero``; ``random``: uniform in [0, 1); ``mean`` of the rows that there are, which is also what the imputers of the
    training interactions give to items that they reach by none.

    Args:
        feature: ``[n_items, width]``, zero where an item has no row; row 0 ([PAD]) stays as it is.
        present: which items have a row, bool ``[n_items]``.
        name: of the modality.
        config: of the run.
        is_centred: whether the mean of the rows is zero.
        training: the training interactions; None before data are split.
    """
    absent, policy = np.flatnonzero(~present[1:]) + 1, policy_of(config)
    if policy == "zero" or not len(absent):
        return
    if policy == "random":
        generator = np.random.default_rng([config["seed"], zlib.crc32(name.encode())])
        feature[absent] = generator.random((len(absent), feature.shape[1]), dtype=np.float32)
        return
    if not is_centred:
        feature[absent] = feature.sum(axis=0, dtype=np.float64) / present.sum()
    if training is not None and policy in IMPUTERS:
        impute(feature, present, _weights(training, policy, config), policy, config["missing_steps"])


def _weights(training: BipartiteGraph, kind: Any, config: Any) -> SparseOperator:
    """From disk where the same were built before."""

    def build() -> dict[str, np.ndarray]:
        csr = imputing_weights(training, kind, config["missing_k"]).to_scipy()
        return {"indptr": csr.indptr, "indices": csr.indices, "values": csr.data}

    cache = GraphCache(config["graph_dir"] or Path(config["checkpoint_dir"]) / "graphs")
    parameters = {"kind": kind, "k": config["missing_k"], "n_items": training.n_items}
    return cache.get("imputing-weights", [training.users, training.items], parameters, build, square(training.n_items))


def impute(feature: np.ndarray, present: np.ndarray, weights: SparseOperator, kind: str, steps: int) -> None:
    """Fill the rows of items without features from those of others, in place (Malitesta et al., 2024).

    ``neighbor_mean``: the mean over the neighbours that have features. All else: from rows of zeros, `steps` times
    ``x <- W x``, with the features of the items that have some set back after each. An item that no features reach, as
    one without training interactions, keeps what it has.

    Args:
        feature: ``[n_items, width]``.
        present: which items have a row, bool ``[n_items]``.
        weights: of :func:`recbole_mm.graph.imputation.imputing_weights`.
        kind: of :data:`recbole_mm.graph.imputation.IMPUTERS`.
        steps: L.
    """
    absent = np.flatnonzero(~present[1:]) + 1
    own = weights.to_scipy()[absent]
    given, between = SparseOperator.from_scipy(own[:, present]), SparseOperator.from_scipy(own[:, absent])

    def spread(values: np.ndarray) -> np.ndarray:
        """Rows of the items without features, of those of the others, float64."""
        first = given @ torch.from_numpy(values.astype(np.float64))
        found = first
        for _ in range(steps - 1 if kind != "neighbor_mean" else 0):
            found = between @ found + first
        return found.numpy()

    reach = spread(np.ones((int(present.sum()), 1)))[:, 0]
    reached = reach > 0
    divisor = reach[reached, None] if kind == "neighbor_mean" else 1.0
    for start in range(0, feature.shape[1], _BLOCK_COLUMNS):
        columns = slice(start, start + _BLOCK_COLUMNS)
        feature[absent[reached], columns] = spread(feature[present, columns])[reached] / divisor
