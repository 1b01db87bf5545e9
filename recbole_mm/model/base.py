"""The base class of every multimodal recommender."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.nn.functional as F
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.utils import InputType
from torch import Tensor, nn

from recbole_mm.graph import (
    BipartiteGraph,
    GraphCache,
    SparseOperator,
    UserNeighbors,
    cooccurrence_neighbors,
    knn_graph,
)


class MultimodalRecommender(GeneralRecommender):
    """A recommender whose score is the dot product of a user and an item vector that :meth:`encode` computes.

    Owns the modality features, the bipartite graph of the training interactions and the prediction. A model defines
    :meth:`encode` and ``calculate_loss``, and where its graphs change between epochs :meth:`before_epoch`. Features are
    constants, or with ``trainable_features: True`` parameters that start as the features; item graphs are built from
    the features as loaded in either case.

    Attributes:
        modalities: names of the modalities in use; feature ``[n_items, width]`` of one by :meth:`feature`.
        graph: bipartite graph of the training interactions.
        embedding_size: width d of the user and item vectors.
        loss_reduction: ``mean`` or ``sum``, how the model's loss and regulariser go over the batch.
    """

    input_type = InputType.PAIRWISE
    needs_modalities = True
    loss_reduction = "mean"
    other_parameter_name = ["epochs_started"]

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.embedding_size: int = config["embedding_size"]
        self.modalities = list(getattr(dataset, "modalities", [])) if self.needs_modalities else []
        if self.needs_modalities and not self.modalities:
            raise ValueError(
                f"{type(self).__name__} needs modality features, and data set '{config['dataset']}' has none: put a "
                f"file such as {config['dataset']}.visual beside its .inter (python -m recbole_mm convert --help)"
            )
        for name in self.modalities:
            if config["trainable_features"]:
                self.register_parameter(f"{name}_feature", nn.Parameter(dataset.take_modality_feature(name)))
            else:
                self.register_buffer(f"{name}_feature", dataset.modality_feature(name), persistent=False)
        users, items = dataset.inter_feat[self.USER_ID], dataset.inter_feat[self.ITEM_ID]
        self.graph = BipartiteGraph(users, items, self.n_users, self.n_items)
        self.graph_cache = GraphCache(config["graph_dir"] or Path(config["checkpoint_dir"]) / "graphs")
        self.epochs_started = 0
        self.trainer_starts_epochs = False
        self._scores_are_cached = False
        self._cached_tables: tuple[Tensor, Tensor] | None = None

    def feature(self, modality: str) -> Tensor:
        """Features of one modality, ``[n_items, width]``; row 0 ([PAD]) is zero unless they are trained."""
        return getattr(self, f"{modality}_feature")

    # ---------------------------------------------------------------- what a model defines

    def encode(self) -> tuple[Tensor, Tensor]:
        """User and item vectors for the current parameters, in training or evaluation mode."""
        raise NotImplementedError

    def before_epoch(self, epoch: int) -> None:
        """What changes between epochs, such as sampled edges: a function of `epoch` and the seed alone."""

    # ---------------------------------------------------------------- epochs

    def start_epoch(self, epoch: int) -> None:
        """Called once before each training epoch, by MultimodalTrainer or, under RecBole's own Trainer, by train()."""
        self.epochs_started = epoch + 1
        self.before_epoch(epoch)

    def train(self, mode: bool = True):
        """As in torch. RecBole's plain Trainer calls it once an epoch and has no hook of its own before an epoch."""
        if mode and not self.trainer_starts_epochs:
            self.start_epoch(self.epochs_started)
        return super().train(mode)

    # ---------------------------------------------------------------- scores

    def score_tables(self) -> tuple[Tensor, Tensor]:
        """Matrices ``[n_users, width]`` and ``[n_items, width]`` whose dot products are the scores."""
        return self.encode()

    @contextmanager
    def scores_cached(self) -> Iterator[None]:
        """Within the context parameters do not change, so that all batches of an evaluation share one encoding."""
        self._scores_are_cached = True
        try:
            yield
        finally:
            self._scores_are_cached, self._cached_tables = False, None

    def _tables(self) -> tuple[Tensor, Tensor]:
        if not self._scores_are_cached:
            return self.score_tables()
        if self._cached_tables is None:
            self._cached_tables = self.score_tables()
        return self._cached_tables

    def predict(self, interaction) -> Tensor:
        """Scores of the user-item pairs of a batch, ``[batch]``."""
        users, items = self._tables()
        return (users[interaction[self.USER_ID]] * items[interaction[self.ITEM_ID]]).sum(dim=-1)

    def full_sort_predict(self, interaction) -> Tensor:
        """Scores of all items for the users of a batch, flattened ``[batch * n_items]``; [PAD] gets minus infinity."""
        users, items = self._tables()
        scores = users[interaction[self.USER_ID]] @ items.T
        scores[:, 0] = -torch.inf
        return scores.view(-1)

    # ---------------------------------------------------------------- helpers of models

    def item_graph(self, modality: str, k: int, weighting: str) -> SparseOperator:
        """The modality's kNN item graph (see :func:`knn_graph`), from disk where the same one was built before.

        Called while the model is built, when the features are still as loaded.
        """
        feature = self.feature(modality).detach()

        def build():
            csr = knn_graph(feature, k, weighting).to_scipy()
            return {"indptr": csr.indptr, "indices": csr.indices, "values": csr.data}

        parameters = {"k": k, "weighting": weighting}
        arrays = self.graph_cache.arrays("item-graph", [feature.cpu().numpy()], parameters, build)
        return SparseOperator(**arrays, shape=(self.n_items, self.n_items))

    def user_neighbors(self, limit: int = 200) -> UserNeighbors:
        """Each user's most co-occurring users, from disk where the same interactions were counted before."""
        parameters = {"n_users": self.n_users, "n_items": self.n_items, "limit": limit}
        inputs = [self.graph.users, self.graph.items]
        arrays = self.graph_cache.arrays(
            "user-neighbors", inputs, parameters, lambda: cooccurrence_neighbors(self.graph, limit)._asdict()
        )
        return UserNeighbors(**arrays)

    def batch(self, interaction) -> tuple[Tensor, Tensor, Tensor]:
        """User, positive and negative item ids of a training batch, each ``[batch]``."""
        return interaction[self.USER_ID], interaction[self.ITEM_ID], interaction[self.NEG_ITEM_ID]

    def __deepcopy__(self, memo):
        """RecBole's get_flops copies every model: graph and buffers outside the state_dict are constants to share."""
        saved = self.state_dict()
        for constant in (self.graph, *(buffer for name, buffer in self.named_buffers() if name not in saved)):
            memo[id(constant)] = constant
        copied = type(self).__new__(type(self))
        memo[id(self)] = copied
        copied.__dict__.update(copy.deepcopy(self.__dict__, memo))
        copied._cached_tables = None
        return copied


def gather(table: Tensor, *ids: Tensor) -> tuple[Tensor, ...]:
    """Rows of one table for several id vectors, ``[batch, width]`` each: one gather, one scatter in the gradient."""
    return F.embedding(torch.cat(ids), table).split([len(one) for one in ids])
