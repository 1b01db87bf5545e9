"""ContentKNN: nearest neighbours of a user's items by their content (the reference of RecSys 2019)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Annotated, ClassVar, Literal

import numpy as np
import scipy.sparse as sp
import torch
from recbole.config import Config

from recbole_mm.data.dataset import MultimodalDataset
from recbole_mm.graph.item_graph import largest_per_row
from recbole_mm.model.closed_form import ClosedFormRecommender, ItemVectors, ItemWeights, Solution
from recbole_mm.model.features import no_features
from recbole_mm.model.settings import ModelSettings
from recbole_mm.nn.content_similarity import (
    HybridRows,
    UnitRows,
    blocks,
    largest_cosines,
    shrunk_cosines,
    weighted_cosines,
)
from recbole_mm.nn.modality_weights import modality_weights
from recbole_mm.registry import register_model
from recbole_mm.setting_conditions import acts_where
from recbole_mm.settings import Count, Weight, Weights


class ContentKNNSettings(ModelSettings):
    """Neighbours by content, as Ferrari Dacrema et al. (RecSys 2019) hold them against neural models. ContentKNN.hyper
    has no modality_weights, whose number is that of the modalities; for two, try steps of 0.25.
    """

    fusion: Literal["sum", "concat", "max", "score", "hybrid"] = "sum"
    """Weighted cosines, raw features side by side, the largest cosine, standardised scores, or interactions beside."""
    modality_weights: Annotated[Weights | dict[str, Weight] | None, acts_where("fusion", "sum", "hybrid")] = None
    """Of `sum` and `hybrid`, per modality in their order or by name, scaled to the sum 1; equal if not set."""
    keep: Literal["row", "column", "none"] = "row"
    """k neighbours of each item of a history, k of each candidate, or all similarities."""
    k: Annotated[Count, acts_where("keep", "row", "column")] = 10
    """Neighbours kept."""
    keep_self: Annotated[bool | None, acts_where("keep", "row", "column")] = None
    """Whether an item is among its own k neighbours; with concat, as in public code, and else not, if not set."""
    content_scale: Annotated[Weight, acts_where("fusion", "hybrid")] = 1.0
    """Length of an item's content beside its column of interactions, for `hybrid`; beta in the papers."""
    shrink: Annotated[Weight, acts_where("fusion", "concat", "hybrid")] = 0.0
    """Added to the product of the norms; 10 in public code, which concatenates."""

    defaults: ClassVar = {"epochs": 1, "train_neg_sample_args": None}


@register_model(
    settings=ContentKNNSettings,
    paper="Are we really making much progress? (ItemKNN on content)",
    year=2019,
    modalities="any number",
    needs="features; solved, not trained",
)
class ContentKNN(ClosedFormRecommender):
    r"""``y_{uj} = \sum_{i \in I_u} W_{ij}``, with W the similarities of items by content, k of them kept per item.

    ``fusion: sum``, the default, is :math:`S_{ij} = \sum_m w_m C^m_{ij}` of cosines of centred features, over the
    modalities that both items have, whose weights are scaled to the sum 1; ``max`` takes the largest :math:`C^m_{ij}`;
    ``score`` keeps neighbours in each modality by itself, brings each user's scores of it to mean 0 and standard
    deviation 1 over the items that have it, and adds them. The diagonal is 0 where neighbours are kept, unless
    ``keep_self`` (an item's similarity to itself touches items of the history alone, but takes one of the k places).

    ``fusion: concat`` with ``shrink: 10`` is public code's ItemKNN on content: :math:`\langle f_i, f_j \rangle /
    (|f_i| |f_j| + shrink)` of the raw features side by side, the item itself among its own neighbours; the modality
    of the largest norm decides there. ``fusion: hybrid`` (CFCBF) takes cosines of what stands side by side: an item's
    column of interactions and :math:`\beta \sqrt{w_m} f^m_i` of each modality; with ``content_scale: 0`` and ``keep:
    column`` it is RecBole's ItemKNN. ``keep: none`` is two thin products, :math:`(A F) F^T`. An item without
    interactions is scored by its content; with ``keep: row`` only where it is a neighbour of an item of the history.
    """

    settings: ContentKNNSettings
    id_only_model = "ItemKNN"

    def __init__(self, config: Config, dataset: MultimodalDataset):
        super().__init__(config, dataset)
        if not self.modalities:
            raise ValueError(no_features(type(self).__name__, config))
        self._check()
        weights = modality_weights(self.settings.modality_weights, self.modalities, visual=0.5)
        self.weights = [weight / sum(weights) for weight in weights]

    def _check(self) -> None:
        chosen, n = self.settings, self.n_items - 1
        if chosen.keep != "none" and chosen.k > n:
            raise ValueError(f"k: {chosen.k} must be from 1 to {n}, the number of items")
        no_product = chosen.fusion in ("max", "hybrid") or (chosen.fusion == "concat" and chosen.shrink)
        if chosen.keep == "none" and no_product:
            raise ValueError(
                f"keep: none is a product of features, which fusion: {chosen.fusion} with shrink: {chosen.shrink:g} is "
                "not; keep row or column"
            )

    def solve(self) -> Solution:
        """The weights, or with ``keep: none`` their factors."""
        read = [] if self.settings.fusion == "concat" else self.modalities
        parts = [UnitRows(*self.modality_rows(modality)) for modality in read]
        if self.settings.fusion != "score":
            return self._weights_of(parts)
        return StandardisedSum([self._weights_of([part]) for part in parts], [part.present for part in parts])

    def _weights_of(self, parts: list[UnitRows]) -> ItemWeights | ItemVectors:
        """Of modalities together; `parts` is empty where they are concatenated."""
        raw = [] if parts else [self.modality_rows(modality)[0] for modality in self.modalities]
        weights = self.weights if len(parts) == len(self.weights) else [1.0]
        if self.settings.keep == "none":
            return _factors(parts, weights, self.settings.shrink) if parts else _factors_of_raw(raw)
        if self.settings.fusion == "hybrid":
            rows = HybridRows(self.history, parts, weights, self.settings.content_scale)
            return self._neighbours(lambda start, stop: rows.cosines(start, stop, self.settings.shrink))
        scale = 1 / (1 + self.settings.shrink)  # the norms are 1
        if not parts:
            return self._neighbours(lambda start, stop: shrunk_cosines(raw, self.settings.shrink, start, stop))
        if self.settings.fusion == "max":
            return self._neighbours(lambda start, stop: scale * largest_cosines(parts, start, stop))
        return self._neighbours(lambda start, stop: scale * weighted_cosines(parts, weights, start, stop))

    def _neighbours(self, similarities: Callable[[int, int], np.ndarray]) -> ItemWeights:
        """The k largest of each row, blocks of rows at a time."""
        own = self.settings.keep_self
        with_self = self.settings.fusion == "concat" if own is None else own
        n = self.n_items - 1
        kept, values = np.empty((n, self.settings.k), np.int64), np.empty((n, self.settings.k))
        for start, stop in blocks(n):
            block = similarities(start, stop)
            if not with_self:
                block[np.arange(stop - start), np.arange(start, stop)] = 0.0
            columns, largest = largest_per_row(torch.from_numpy(block), self.settings.k)
            kept[start:stop], values[start:stop] = columns.numpy(), largest.numpy()
        starts = np.arange(n + 1) * self.settings.k
        weights = sp.csr_matrix((values.ravel(), kept.ravel(), starts), (n, n))
        return ItemWeights(weights.T.tocsr() if self.settings.keep == "column" else weights)


@dataclass(frozen=True)
class StandardisedSum:
    """Scores of each modality, with mean 0 and standard deviation 1 for each user over the items that have it, added.

    An item without a modality has nothing from it.

    Args:
        parts: of each modality.
        present: of each modality, bool ``[n]``.
    """

    parts: list[ItemWeights | ItemVectors]
    present: list[np.ndarray]

    def scores(self, history: sp.csr_matrix) -> np.ndarray:
        return reduce(add, (self._standardised(history, *part) for part in zip(self.parts, self.present, strict=True)))

    def _standardised(self, history: sp.csr_matrix, part: ItemWeights | ItemVectors, present: np.ndarray) -> np.ndarray:
        scores = part.scores(history)
        own = scores[:, present]
        deviations = own.std(axis=1, keepdims=True)
        centred = np.where(present, scores - own.mean(axis=1, keepdims=True), 0.0)
        return np.divide(centred, deviations, out=np.zeros_like(centred), where=deviations > 0)

    def tables(self, history: sp.csr_matrix) -> tuple[np.ndarray, np.ndarray]:
        raise ValueError("fusion: score standardises scores for each user, which no dot product gives; take another")


def _factors(parts: list[UnitRows], weights: list[float], shrink: float) -> ItemVectors:
    """Factors of the weighted cosines: a block of columns for each set of modalities that items have.

    Weights are scaled for each pair of such sets, of which there is one where no item lacks any.
    """
    presence = np.stack([part.present for part in parts], axis=1)
    sets, place = np.unique(presence, axis=0, return_inverse=True)
    place = place.ravel()
    features = np.concatenate([np.sqrt(weight) * part.all() for part, weight in zip(parts, weights, strict=True)], 1)
    common = (sets * weights) @ sets.T * (1 + shrink)
    scales = np.divide(1.0, common, out=np.zeros_like(common), where=common > 0)[:, place]
    left = np.concatenate([features * (place == number)[:, None] for number in range(len(sets))], axis=1)
    right = np.concatenate([features * scale[:, None] for scale in scales], axis=1)
    return ItemVectors(left, right)


def _factors_of_raw(raw: list[np.ndarray]) -> ItemVectors:
    features = np.concatenate(raw, axis=1).astype(np.float64)
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    features = np.divide(features, norms, out=np.zeros_like(features), where=norms > 0)
    return ItemVectors(features, features)
