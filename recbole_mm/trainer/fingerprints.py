"""What a model was trained on, as hashes that a checkpoint carries."""

from __future__ import annotations

import hashlib

import numpy as np
from recbole.data.dataset import Dataset

from recbole_mm.data.dataset import MultimodalDataset
from recbole_mm.model.recommender import Recommender


def fingerprint(dataset: Dataset) -> str:
    """Hash of a data set's user and item ids in their internal order and of its split's interactions, in any order."""
    digest = hashlib.sha256()
    for field in (dataset.uid_field, dataset.iid_field):
        digest.update("\n".join(map(str, dataset.field2id_token[field])).encode())
    users, items = (dataset.inter_feat[field].numpy() for field in (dataset.uid_field, dataset.iid_field))
    digest.update(np.sort(users.astype(np.int64) * dataset.item_num + items).tobytes())
    return digest.hexdigest()


def feature_fingerprints(model: Recommender, dataset: MultimodalDataset) -> dict[str, str]:
    """Hash of the features of each modality that a model reads, in its order."""
    return {name: dataset.modality_fingerprint(name) for name in model.modalities}


def check_same_features(checkpoint: str, saved: dict[str, str] | None, current: dict[str, str]) -> None:
    """Raise ValueError, which names both sides, where a checkpoint was trained on other features than this run's.

    Args:
        checkpoint: for the message, such as ``checkpoint FILE``.
        saved: its :func:`feature_fingerprints`; None for one written before there were any, which passes.
        current: those of this run.
    """
    if saved is None:
        return
    if list(saved) != list(current):
        raise ValueError(
            f"{checkpoint} was trained on the modalities {', '.join(saved)} in this order, this run has "
            f"{', '.join(current)}; set `modalities` to the same"
        )
    changed = [name for name in current if saved[name] != current[name]]
    if changed:
        raise ValueError(
            f"{checkpoint} was trained on other {' and '.join(changed)} features than this run reads; bring its files "
            "and its missing_modality, center_feature, standardize_feature and normalize_feature back, or train again"
        )
