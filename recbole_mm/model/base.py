"""The base class of every multimodal recommender."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.utils import InputType
from torch import Tensor, nn

from recbole_mm.graph import (
    BipartiteGraph,
    GraphCache,
    SparseOperator,
    UserGraphSampler,
    UserNeighbors,
    cooccurrence_neighbors,
    knn_graph,
)
from recbole_mm.model.settings import ModelSettings
from recbole_mm.nn.feature_adapter import adapter_class
from recbole_mm.nn.user_embedding import id_table
from recbole_mm.registry import MODELS

LATE_FUSION_KEYS = {"weak_weight": 0, "user_embedding": "separate"}  # with the values that ask for nothing


def late_fusion_models() -> list[str]:
    """Names of the models that rate each modality by themselves, not through a backbone."""
    entries = (MODELS.entry(name) for name in MODELS)
    return [one.name for one in entries if one.target.takes_late_fusion and not one.facts["wraps_backbone"]]


def no_late_fusion(model: str, key: str) -> str:
    """Why a model cannot have a key of POWERec's components, and which can."""
    can = ", ".join(late_fusion_models())
    return f"{key}: {model} has no rating per modality, which this key needs; those that have: {can}"


class MultimodalRecommender(GeneralRecommender):
    """A recommender whose score is the dot product of a user and an item vector that :meth:`encode` computes.

    Owns the modality features, the bipartite graph of the training interactions and the prediction. A model defines
    :meth:`encode` and ``calculate_loss``, and where its graphs change between epochs :meth:`before_epoch`. Features are
    constants, or with ``trainable_features: True`` parameters that start as the features; item graphs are built from
    the features as loaded in either case.

    A model that passes its projected features through :meth:`adapt` says so by ``adapts_features = True``; the key
    ``feature_adapter`` then puts an adapter there, one per name in :attr:`projected_features`.

    Attributes:
        settings: the model's keys, of the class that ``register_model(settings=...)`` was given.
        modalities: names of the modalities in use; feature ``[n_items, width]`` of one by :meth:`feature`.
        graph: bipartite graph of the training interactions.
        embedding_size: width d of the user and item vectors.
        n_processes: processes that train together; their gradients are averaged.
        train_batch_size: rows of a full batch that this process has, its share of ``train_batch_size``.
        adapts_features: whether the model has a place for a feature adapter.
        takes_late_fusion: whether the model, or the backbone it wraps, can rate each modality by itself.
        has_item_ids: whether the model's ``item_embedding`` is a table of item ID vectors, ``[n_items, d]``.
        loss_reduction: ``mean`` or ``sum``, how the model's loss and regulariser go over the batch.
    """

    settings_class: type[ModelSettings] = ModelSettings
    input_type = InputType.PAIRWISE
    needs_modalities = True
    adapts_features = False
    takes_late_fusion = False
    has_item_ids = True
    loss_reduction = "mean"
    other_parameter_name = ["epochs_started"]
    trainer_class: str | None = None  # the class its trainer must derive from, where that is not RecBole's Trainer

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.settings = self.settings_class.of(config)
        self.embedding_size: int = self.settings.embedding_size
        self.n_processes = dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
        self.train_batch_size: int = max(1, config["train_batch_size"] // self.n_processes)
        self.modalities = list(getattr(dataset, "modalities", [])) if self.needs_modalities else []
        if self.needs_modalities and not self.modalities:
            raise ValueError(
                f"{type(self).__name__} needs modality features, and data set '{config['dataset']}' has none: put a "
                f"file such as {config['dataset']}.visual beside its .inter (python -m recbole_mm convert --help)"
            )
        if not self.takes_late_fusion:
            for key, plain in LATE_FUSION_KEYS.items():
                if config[key] not in (None, plain):
                    raise ValueError(no_late_fusion(type(self).__name__, key))
        for name in self.modalities:
            if self.settings.trainable_features:
                self.register_parameter(f"{name}_feature", nn.Parameter(dataset.take_modality_feature(name)))
            else:
                self.register_buffer(f"{name}_feature", dataset.modality_feature(name), persistent=False)
        users, items = dataset.inter_feat[self.USER_ID], dataset.inter_feat[self.ITEM_ID]
        self.graph = BipartiteGraph(users, items, self.n_users, self.n_items)
        self._build_adapters(config)
        self.graph_cache = GraphCache(self.settings.graph_dir or Path(config["checkpoint_dir"]) / "graphs")
        self.epochs_started = 0
        self.trainer_starts_epochs = False
        self.trainer_classes: tuple[str, ...] = ()
        self._scores_are_cached = False
        self._cached_tables: tuple[Tensor, Tensor] | None = None

    @classmethod
    def check_backbone(cls, config) -> None:
        """Raise ValueError where the model wraps a backbone and cannot wrap the configured one."""

    def feature(self, modality: str) -> Tensor:
        """Features of one modality, ``[n_items, width]``; row 0 ([PAD]) is zero unless they are trained."""
        return getattr(self, f"{modality}_feature")

    # ---------------------------------------------------------------- feature adapters

    @property
    def projected_features(self) -> list[str]:
        """Names of the projected features that :meth:`adapt` is called with."""
        return self.modalities

    def _build_adapters(self, config) -> None:
        kind = adapter_class(self.settings.feature_adapter)
        if kind is not None and not self.adapts_features:
            raise ValueError(
                f"feature_adapter: {type(self).__name__} has no place for '{self.settings.feature_adapter}' "
                f"between projected features and their use; leave the key at none, or choose another model"
            )
        names = self.projected_features if kind is not None else []
        self.feature_adapters = nn.ModuleDict({name: kind(self.embedding_size, config) for name in names})
        self.adapters_gate_behaviour = bool(names) and kind.gates_behaviour
        self._adapters_need_behaviour = bool(names) and kind.needs_behaviour
        if self._adapters_need_behaviour and not self.has_item_ids:
            self.behaviour_embedding = id_table(self.n_items, self.embedding_size)

    @property
    def behaviour_vectors(self) -> Tensor:
        """The ID vectors of items, ``[n_items, d]``: the model's own, or those made for an adapter that reads them."""
        return self.item_embedding if self.has_item_ids else self.behaviour_embedding

    def adapt(self, name: str, projected: Tensor, items: Tensor | None = None) -> Tensor:
        """Projected features ``[n, d]`` of some items, or of all, after the adapter; unchanged where there is none.

        Args:
            name: one of :attr:`projected_features`.
            items: ``[n]`` item ids; all if not given.
        """
        if name not in self.feature_adapters:
            return projected
        behaviour = None
        if self._adapters_need_behaviour:
            table = self.behaviour_vectors
            behaviour = table if items is None else F.embedding(items, table)
        return self.feature_adapters[name](projected, behaviour)

    def project_features(self, modality: str, features: Tensor) -> Tensor:
        """Projected features ``[n, d]``, as :meth:`adapt` takes them, of any features ``[n, width]`` of a modality.

        They need not be rows of :meth:`feature`: an analysis asks what the model makes of a changed picture.

        Raises:
            ValueError: the model does not project this modality, or not by itself.
        """
        if modality not in self.projected_features:
            alone = ", ".join(self.projected_features) or "none"
            raise ValueError(
                f"{type(self).__name__} does not project '{modality}' features by themselves (those it does: {alone})"
            )
        return self._project(self.modalities.index(modality), features)

    def _project(self, modality: int, features: Tensor) -> Tensor:
        """The projection of most models; one that does it differently overrides this."""
        return self.projections[modality](features)

    # ---------------------------------------------------------------- what a model defines

    def encode(self) -> tuple[Tensor, Tensor]:
        """User and item vectors for the current parameters, in training or evaluation mode."""
        raise NotImplementedError

    def before_epoch(self, epoch: int) -> None:
        """What changes between epochs, such as sampled edges: a function of `epoch` and the seed alone."""

    def idle_parameters(self) -> list[nn.Parameter]:
        """Parameters that the next batch's loss leaves without a gradient, though other batches give them one."""
        return []

    def behaviour_tables(self) -> tuple[Tensor, Tensor]:
        """Users ``[n_users, d]`` and items ``[n_items, d]`` as behaviour alone sees them, for PTMRec's transfer.

        A model that is a backbone of PTMRec defines it.
        """
        raise NotImplementedError

    def modality_vectors(self, modality: str, features: Tensor) -> Tensor:
        """One modality's share of items, ``[n, d]``, of features ``[n, width]``: as projected."""
        return self.project_features(modality, features)

    # ---------------------------------------------------------------- epochs

    def start_epoch(self, epoch: int) -> None:
        """Called once before each training epoch, by MultimodalTrainer or, under RecBole's own Trainer, by train().

        Raises ValueError where the model has a :attr:`trainer_class` and that is another trainer.
        """
        if self.trainer_class and self.trainer_classes and self.trainer_class not in self.trainer_classes:
            raise ValueError(
                f"{type(self).__name__} is trained in stages, which {self.trainer_classes[0]} leaves out; derive that "
                f"trainer from {self.trainer_class}"
            )
        self.epochs_started = epoch + 1
        self.before_epoch(epoch)

    def train(self, mode: bool = True):
        """As in torch. RecBole's plain Trainer calls it once an epoch and has no hook of its own before an epoch."""
        if mode and not self.trainer_starts_epochs:
            self.start_epoch(self.epochs_started)
        return super().train(mode)

    # ---------------------------------------------------------------- scores

    def score_tables(self) -> tuple[Tensor, Tensor]:
        """Matrices ``[n_users, width]`` and ``[n_items, width]`` whose dot products are the scores.

        Always of the current parameters. The public code of MMGCN, GRCN, DualGNN, DRAGON and SLMRec scores with what
        its last training batch had computed, before that batch's step; there is no key for it.
        """
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

        Called while the model is built, when the features are still as loaded. Raises ValueError where k, the key
        `knn_k`, is out of range.
        """
        if not 1 <= k < self.n_items:
            raise ValueError(f"knn_k: {k} must be from 1 to {self.n_items - 1}, the number of items")
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

    def sample_user_graphs(self, config) -> UserGraphSampler:
        """The user-user graphs of the epochs, `user_graph_width` neighbours a user."""
        width = self.settings.user_graph_width
        return UserGraphSampler(self.user_neighbors(limit=max(200, width)), width, config["seed"])

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
