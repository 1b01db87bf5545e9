"""What trainer, commands and analyses ask of every recommender of ours: settings, epochs, scores and copies."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, Self

import torch
import torch.distributed as dist
from recbole.config import Config
from recbole.data.interaction import Interaction
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.utils import InputType
from torch import Tensor, nn

from recbole_mm.data.dataset import MultimodalDataset
from recbole_mm.model.scoring import TableScores
from recbole_mm.model.settings import ModelSettings
from recbole_mm.nn.sums import total

TERM = "loss_"


class Recommender(TableScores, GeneralRecommender):
    """A recommender whose score is the dot product of a user and an item vector that :meth:`encode` computes.

    A model derives from one that has the parts it needs: :class:`~recbole_mm.model.base.MultimodalRecommender`
    (features and a graph), :class:`~recbole_mm.model.graphs.GraphRecommender` (a graph alone) or
    :class:`~recbole_mm.model.backbone_model.BackboneModel` (another model). It defines :meth:`encode` and
    ``calculate_loss``, and where its graphs change between epochs :meth:`before_epoch`.

    Attributes:
        settings: the model's keys, of the class that ``register_model(settings=...)`` was given.
        modalities: names of the modalities it reads.
        embedding_size: width d of the user and item vectors.
        n_processes: processes that train together; their gradients are averaged.
        train_batch_size: rows of a full batch that this process has, its share of ``train_batch_size``.
        loss_reduction: ``mean`` or ``sum``, how the model's loss and regulariser go over the batch.
    """

    settings_class: type[ModelSettings] = ModelSettings
    input_type = InputType.PAIRWISE
    loss_reduction = "mean"
    other_parameter_name = ["epochs_started"]
    way_of_training = "in stages"  # where the model has a trainer_class
    trainer_class: str | None = None  # the class its trainer must derive from, where that is not RecBole's Trainer
    id_only_model: str | None = None  # the model of IDs alone that it stands on, as audits compare it with

    def __init__(self, config: Config, dataset: MultimodalDataset):
        super().__init__(config, dataset)
        self.settings = self.settings_class.of(config)
        self.embedding_size: int = self.settings.embedding_size
        self.n_processes = dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
        self.train_batch_size: int = max(1, config["train_batch_size"] // self.n_processes)
        self.modalities: list[str] = []
        self.epochs_started = 0
        self.trainer_starts_epochs = False
        self.trainer_classes: tuple[str, ...] = ()
        self._records: dict[str, list[Tensor]] = {}

    @classmethod
    def id_only_model_of(cls, settings: Mapping[str, Any]) -> str | None:
        """Name of the model of IDs alone that one with these settings stands on; None where there is none."""
        return cls.id_only_model

    @classmethod
    def check_files(cls, config: Config, modalities: list[str]) -> None:
        """Raise ValueError or OSError where files that the settings name, beside the data set's, are not there.

        A plan of an experiment asks it of each row, before anything runs.
        """

    @abstractmethod
    def calculate_loss(self, interaction: Interaction) -> Any:
        """The loss of a batch, a scalar, or its parts as a tuple, whose sum is trained on."""

    @property
    def adapts_features(self) -> bool:
        """Whether the model has a place for a feature adapter."""
        return False

    def before_epoch(self, epoch: int) -> None:
        """What changes between epochs, such as sampled edges: a function of `epoch` and the seed alone."""

    def idle_parameters(self) -> list[nn.Parameter]:
        """Parameters that the next batch's loss leaves without a gradient, though other batches give them one."""
        return []

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Parameters that can have a learning rate of their own, the key ``<name>_learning_rate``; those of one stage.

        A name whose key this model does not declare means nothing.
        """
        adapters = getattr(self, "feature_adapters", None)
        return {} if adapters is None else {"adapter": list(adapters.parameters())}

    def record(self, **values: Tensor) -> None:
        """Have the log and TensorBoard show means over a training epoch's batches, such as of the parts of the loss.

        Args:
            values: scalars of the batch by name; no gradient goes through them.
        """
        if self.training:
            for name, value in values.items():
                self._records.setdefault(name, []).append(value.detach())

    def sum_of_terms(self, **terms: Tensor) -> Tensor:
        """The sum of a loss's terms, each with its weight, from the first to the last; records ``loss_<name>`` of each.

        The log has what is recorded so in a line of its own, which the terminal leaves out, and the curves and warnings
        of an experiment take it for the parts of the loss.
        """
        self.record(**{f"{TERM}{name}": term for name, term in terms.items()})
        return total(terms.values())

    def has_recorded(self, name: str) -> bool:
        """Whether a batch of this epoch has recorded a value of this name."""
        return name in self._records

    def records(self) -> dict[str, float]:
        """The mean of what was recorded in this epoch, by name; a subclass adds what it measures at the end of one."""
        of_adapters = {
            f"{record}_{name}": value
            for name, adapter in getattr(self, "feature_adapters", {}).items()
            for record, value in adapter.records().items()
        }
        means = [torch.stack(values).mean().float() for values in self._records.values()]
        values = torch.stack(means).tolist() if means else []  # at once, as each waits for the device
        return dict(zip(self._records, values, strict=True)) | of_adapters

    def diagnostics(self) -> dict[str, float]:
        """What the parameters are like after a training epoch, by name: for the log alone, not the terminal."""
        return {}

    def start_epoch(self, epoch: int) -> None:
        """Called once before each training epoch, by MultimodalTrainer or, under RecBole's own Trainer, by train().

        Raises ValueError where the model has a :attr:`trainer_class` and that is another trainer.
        """
        if self.trainer_class and self.trainer_classes and self.trainer_class not in self.trainer_classes:
            raise ValueError(
                f"{type(self).__name__} is trained {self.way_of_training}, which {self.trainer_classes[0]} leaves "
                f"out; derive that trainer from {self.trainer_class}"
            )
        self.epochs_started = epoch + 1
        self._records = {}
        self.before_epoch(epoch)

    def train(self, mode: bool = True) -> Self:
        """As in torch. RecBole's plain Trainer calls it once an epoch and has no hook of its own before an epoch."""
        if mode and not self.trainer_starts_epochs:
            self.start_epoch(self.epochs_started)
        return super().train(mode)

    def batch(self, interaction: Interaction) -> tuple[Tensor, Tensor, Tensor]:
        """User, positive and negative item ids of a training batch, each ``[batch]``."""
        return interaction[self.USER_ID], interaction[self.ITEM_ID], interaction[self.NEG_ITEM_ID]

    def constants(self) -> Iterator[Any]:
        """What copies of the model share: buffers outside the state_dict, and whatever a subclass adds."""
        saved = self.state_dict()
        return (buffer for name, buffer in self.named_buffers() if name not in saved)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """A copy shares the constants, which are the most of a model without trained features."""
        for constant in self.constants():
            memo[id(constant)] = constant
        copied = type(self).__new__(type(self))
        memo[id(self)] = copied
        copied.__dict__.update(copy.deepcopy(self.__dict__, memo))
        copied._cached_tables = None
        return copied
