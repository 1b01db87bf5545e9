"""The base class of recommenders that are solved instead of trained: item-item weights in closed form."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import scipy.sparse as sp
import torch
from recbole.config import Config
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_mm.data.dataset import MultimodalDataset
from recbole_mm.model.graphs import GraphRecommender

_BLOCK_USERS = 512


class Solution(Protocol):
    """What scores users by their histories. Arrays are float64 and without [PAD]'s column: item i is column i - 1."""

    def scores(self, history: sp.csr_matrix) -> np.ndarray:
        """Scores ``[n, n_items - 1]`` of histories ``[n, n_items - 1]`` of 0 and 1."""
        ...

    def tables(self, history: sp.csr_matrix) -> tuple[np.ndarray, np.ndarray]:
        """Vectors of the histories and of the items, whose dot products are the scores.

        Raises ValueError where there are none.
        """
        ...


@dataclass(frozen=True)
class ItemWeights:
    """``scores = X W``: each item of a history adds its row of weights, dense or sparse ``[n, n]``."""

    weights: np.ndarray | sp.csr_matrix

    def scores(self, history: sp.csr_matrix) -> np.ndarray:
        found = history @ self.weights
        return found if isinstance(found, np.ndarray) else found.toarray()

    def tables(self, history: sp.csr_matrix) -> tuple[np.ndarray, np.ndarray]:
        dense = self.weights if isinstance(self.weights, np.ndarray) else self.weights.toarray()
        return history.toarray(), dense.T


@dataclass(frozen=True)
class ItemVectors:
    """``scores = (X left) right^T`` with ``left`` and ``right`` ``[n, width]``: weights of a low rank."""

    left: np.ndarray
    right: np.ndarray

    def scores(self, history: sp.csr_matrix) -> np.ndarray:
        return (history @ self.left) @ self.right.T

    def tables(self, history: sp.csr_matrix) -> tuple[np.ndarray, np.ndarray]:
        return history @ self.left, self.right


class ClosedFormRecommender(GraphRecommender):
    """A recommender without a parameter: :meth:`solve` gives what scores histories, from interactions and features.

    It is deterministic: checkpoints hold its settings and the hashes of what it was solved from, and it is solved
    again where one is opened, when a first score is asked for. Its trainer is
    :class:`~recbole_mm.trainer.closed_form.ClosedFormTrainer`. It reads whatever modalities are in use, also none.

    Attributes:
        dataset: of the training interactions, with the features.
        history: training interactions as 0 and 1, ``[n_users, n_items - 1]``, without [PAD]'s column.
    """

    def __init__(self, config: Config, dataset: MultimodalDataset):
        super().__init__(config, dataset)
        name = type(self).__name__
        if self.settings.trainable_features:
            raise ValueError(f"trainable_features: {name} is solved in closed form and trains none; leave the key out")
        if self.n_processes > 1:
            raise ValueError(f"nproc: {self.n_processes} processes; {name} is solved in closed form by one")
        self.modalities = list(dataset.modalities)
        self.dataset = dataset
        self.history = self.graph.raw_block().to_scipy()[:, 1:].tocsr()
        self._solution: Solution | None = None

    @abstractmethod
    def solve(self) -> Solution:
        """Compute what scores histories; raises ValueError, one line, where the settings have no solution."""
        raise NotImplementedError

    def solution(self) -> Solution:
        """What :meth:`solve` gave, which is asked once."""
        if self._solution is None:
            self._solution = self.solve()
        return self._solution

    def modality_rows(self, modality: str) -> tuple[np.ndarray, np.ndarray]:
        """Features ``[n_items - 1, width]`` of a modality, and which items have a row of their own."""
        feature, present = self.dataset.modality_feature(modality), self.dataset.modality_mask(modality)
        return feature[1:].cpu().numpy(), present[1:].cpu().numpy()

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """There is none; raises ValueError."""
        raise ValueError(f"{type(self).__name__} has no loss: it is solved in closed form, by ClosedFormTrainer")

    def score_tables(self) -> tuple[Tensor, Tensor]:
        """``[n_users, width]`` and ``[n_items, width]``; the width is that of all items where ranks are full."""
        users, items = self.solution().tables(self.history)
        padded = np.concatenate([np.zeros((1, items.shape[1])), items])
        return self._tensor(users), self._tensor(padded)

    def user_scores(self, users: Tensor) -> Tensor:
        """Scores of all items for some users, ``[n, n_items]``."""
        found = self.solution().scores(self.history[users.cpu().numpy()])
        return torch.nn.functional.pad(self._tensor(found), (1, 0))

    def predict(self, interaction: Interaction) -> Tensor:
        """Scores of the user-item pairs of a batch, ``[batch]``."""
        users, place = torch.unique(interaction[self.USER_ID], return_inverse=True)
        items = interaction[self.ITEM_ID]
        scores = torch.empty(len(items), device=self.device)
        for start in range(0, len(users), _BLOCK_USERS):
            chosen = (place >= start) & (place < start + _BLOCK_USERS)
            block = self.user_scores(users[start : start + _BLOCK_USERS])
            scores[chosen] = block[place[chosen] - start, items[chosen]]
        return scores

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32)).to(self.device)

    def constants(self) -> Iterator[Any]:
        """The data set, the histories and the solution too."""
        yield from (self.dataset, self.history)
        if self._solution is not None:
            yield self._solution
        yield from super().constants()
