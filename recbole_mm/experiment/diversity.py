"""How alike recommended items are in the features of each modality, to one another and to what their user knows."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor
from torch.nn.functional import normalize

_USERS_AT_A_TIME = 256


def diversity_and_novelty(dataset: Any, users: Tensor, items: Tensor, k: int) -> dict[str, float]:
    """Mean cosine distances in the feature space of each modality of a training set.

    ``diversity_<modality>`` is that of two items of one list, ``novelty_<modality>`` that of a recommended item and an
    item of the user's training interactions, averaged over users. Features are centred first: those of most encoders
    have a mean so strong that all cosines are near one. Items without features of their own are left out.

    Args:
        dataset: training set with modalities.
        users: internal ids, ``[n_users]``.
        items: recommended ones, best first, ``[n_users, at least k]``.
        k: length of the lists.
    """
    found: dict[str, float] = {}
    history = _history(dataset)
    for modality in getattr(dataset, "modalities", ()):
        known = dataset.modality_mask(modality)
        features = dataset.modality_feature(modality).double()
        features = normalize(features - features[known].mean(dim=0), dim=1) * known[:, None]
        found |= _distances(features, known.double(), history, users, items[:, :k], modality)
    return found


def _history(dataset: Any) -> csr_matrix:
    """Training interactions, each once: ``[n_users, n_items]``."""
    users, items = (np.asarray(dataset.inter_feat[field]) for field in (dataset.uid_field, dataset.iid_field))
    pairs = np.unique(np.stack([users, items]), axis=1)
    return csr_matrix((np.ones(pairs.shape[1]), tuple(pairs)), shape=(dataset.user_num, dataset.item_num))


def _distances(
    features: Tensor, known: Tensor, history: csr_matrix, users: Tensor, items: Tensor, modality: str
) -> dict[str, float]:
    # sums over the user's items
    profile, sizes = (torch.from_numpy(history @ values.numpy()) for values in (features, known[:, None]))
    within, between = [], []
    for start in range(0, len(users), _USERS_AT_A_TIME):
        rows = items[start : start + _USERS_AT_A_TIME]
        listed, counted = features[rows], known[rows].sum(dim=1)
        total = listed.sum(dim=1)
        # the sum over pairs of a list of their cosines: the squared length of its sum, less each item with itself
        cosines = (total.square().sum(dim=1) - counted) / (counted * (counted - 1))
        within.append(1 - cosines[counted > 1])
        own = users[start : start + _USERS_AT_A_TIME]
        seen = sizes[own, 0]
        cosines = (total * profile[own]).sum(dim=1) / (counted * seen)
        between.append(1 - cosines[(counted > 0) & (seen > 0)])
    return {
        f"diversity_{modality}": float(torch.cat(within).mean()),
        f"novelty_{modality}": float(torch.cat(between).mean()),
    }
