"""The modality weights in a checkpoint, and the items at either end of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from recbole_mm.host.datasets import data_set
from recbole_mm.load import OpenedCheckpoint
from recbole_mm.model.late_fusion import ModalityRatings


@dataclass(frozen=True)
class ModalityWeights:
    """The modality weights of one checkpoint.

    Attributes:
        label: name of the checkpoint.
        of: ``item`` for the item weights of MARGO and LUDP's attention of items; ``user`` for the user weights of
            DualGNN and DRAGON, each user's divided by their sum, and LUDP's attention of users.
        modalities: the M names.
        ids: original ids of the items or users, strings ``[n]``.
        values: ``[n, M]``; rows sum to 1.
        interactions: training interactions of each, ``[n]``.
        has_features: bool ``[n, M]``, False where an item has no features of its own in a modality.
    """

    label: str
    of: str
    modalities: list[str]
    ids: np.ndarray
    values: np.ndarray
    interactions: np.ndarray
    has_features: np.ndarray

    @property
    def in_range(self) -> np.ndarray:
        """Bool ``[n]``. User weights are free parameters, whose shares can leave [0, 1] or be undefined."""
        return np.all((self.values >= 0) & (self.values <= 1), axis=1)

    def column(self, modality: str) -> np.ndarray:
        """Weights of one modality in [0, 1], ``[in_range.sum()]``."""
        return self.values[self.in_range, self.modalities.index(modality)]


@dataclass(frozen=True)
class ExtremeItem:
    """An item at the ``most`` or ``least`` end of a modality's weights; `rank` counts from 1 at that end."""

    modality: str
    end: str
    rank: int
    item: str
    title: str
    weight: float
    interactions: int
    picture: Path | None
    text: str = ""


def all_modality_weights(opened: OpenedCheckpoint, label: str) -> list[ModalityWeights]:
    """The weights of all items or users but [PAD]; of a model with attention over modalities (LUDP) those of both.

    Raises ValueError as :func:`modality_weights`.
    """
    model = opened.model
    if not hasattr(model, "attention_weights"):
        return [modality_weights(opened, label)]
    with torch.no_grad():
        sides = model.attention_weights()
    if not sides:
        raise ValueError(
            f"checkpoint {opened.path}: {type(model).__name__} has no attention over modalities with these settings; "
            "it needs fusion: attention and at least two modalities"
        )
    return [_table(opened, label, of, model.modalities, values) for of, values in sides.items()]


def modality_weights(opened: OpenedCheckpoint, label: str) -> ModalityWeights:
    """The weights of all items, or users, but [PAD].

    Raises:
        ValueError: the model has no modality weights, or is in a stage that does not use them.
    """
    model = opened.model
    with torch.no_grad():
        item_weights = model.item_weights() if isinstance(model, ModalityRatings) else None
    if item_weights is not None:
        return _table(opened, label, "item", model.rated_modalities, item_weights)
    user_weights = getattr(model, "user_fusion", None)
    if isinstance(user_weights, torch.Tensor):  # LUDP's fusion of the users' modalities is a module
        shares = user_weights.detach() / user_weights.detach().sum(dim=1, keepdim=True)
        return _table(opened, label, "user", model.modalities, shares)  # which leave out COHESION's IDs
    stage = f" in stage {model.stage}" if hasattr(model, "stage") else ""
    raise ValueError(
        f"checkpoint {opened.path}: {type(model).__name__}{stage} weights no modalities; modality-weights "
        "takes MARGO in stage two (item weights), DualGNN, DRAGON, COHESION and MENTOR (user weights), and LUDP "
        "(attention of both)"
    )


def _table(
    opened: OpenedCheckpoint, label: str, of: str, modalities: list[str], values: torch.Tensor
) -> ModalityWeights:
    dataset, train = opened.dataset, data_set(opened.train_data)
    field = dataset.iid_field if of == "item" else dataset.uid_field
    ids = np.asarray(dataset.field2id_token[field], dtype=str)
    interactions = np.bincount(train.inter_feat[field].numpy(), minlength=len(ids))
    has_features = np.ones(values.shape, dtype=bool)
    for place, name in enumerate(modalities):
        if of == "item" and name in dataset.modalities:  # not for the ID, which every item has
            has_features[:, place] = dataset.modality_mask(name).numpy()
    of_each = (ids, values.cpu().numpy(), interactions, has_features)
    return ModalityWeights(label, of, list(modalities), *(row[1:] for row in of_each))


def extreme_items(
    weights: ModalityWeights,
    titles: Mapping[str, str],
    pictures: Mapping[str, Path],
    top: int,
    texts: Mapping[str, str] | None = None,
) -> list[ExtremeItem]:
    """The `top` items with the largest and with the smallest weight of each modality.

    Only items with training interactions are ranked: the others have been nothing but negatives, and their
    weights, which can be the most extreme of all, do not say how reliably a modality ranks them. Nor is an item
    ranked by a modality of which it has no features of its own.

    Args:
        weights: of items; equal ones keep the data set's order.
        titles: by item id; an item without one gets an empty title.
        pictures: files by item id.
        top: items at each end.
        texts: by item id, shown beside the pictures.
    """
    found = []
    columns = zip(weights.modalities, weights.values.T, weights.has_features.T, strict=True)
    for modality, column, present in columns:
        ranked = np.flatnonzero(present & (weights.interactions > 0))
        for end, key in (("most", -column), ("least", column)):
            for rank, row in enumerate(ranked[np.argsort(key[ranked], kind="stable")][:top], start=1):
                item = str(weights.ids[row])
                facts = (titles.get(item, ""), float(column[row]), int(weights.interactions[row]))
                shown = pictures.get(item), (texts or {}).get(item, "")
                found.append(ExtremeItem(modality, end, rank, item, *facts, *shown))
    return found
