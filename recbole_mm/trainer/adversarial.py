"""Training against a critic, with batches of users: MMSSL."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from recbole.config import Config
from recbole.data.dataloader.abstract_dataloader import AbstractDataLoader
from torch import Tensor

from recbole_mm.model.mmssl import MMSSL
from recbole_mm.registry import register_trainer
from recbole_mm.trainer.trainer import LossFunction, MultimodalTrainer


@register_trainer("MMSSL")
class AdversarialTrainer(MultimodalTrainer):
    """Each step trains the model's critic, then the model, and then lets it renew its graphs.

    Batches are the model's own (``model.user_batches``), in the place of RecBole's loader. The model has
    ``critic_step(batch)``, ``after_step(batch)`` and ``after_epoch()``.
    """

    model: MMSSL

    def __init__(self, config: Config, model: MMSSL):
        if not config["single_spec"]:
            raise ValueError(f"{config['model']} trains against a critic, which takes one process; leave --nproc out")
        super().__init__(config, model)

    def _train_epoch(
        self,
        train_data: AbstractDataLoader | Iterable[Any],
        epoch_idx: int,
        loss_func: LossFunction | None = None,
        show_progress: bool = False,
    ) -> float | tuple[float, ...]:
        """As of every model; of other batches than a loader's, such as part of the model's own, exactly these."""
        if isinstance(train_data, AbstractDataLoader):
            train_data = self.model.user_batches.of_epoch(self.config["seed"], epoch_idx)
        losses = super()._train_epoch(train_data, epoch_idx, loss_func, show_progress)
        self.model.after_epoch()
        return losses

    def _gradients(
        self, step: Any, loss_func: LossFunction, scaler: torch.amp.GradScaler, sync_loss: Tensor | float = 0
    ) -> Tensor:
        step = step.to(self.device)
        self.model.critic_step(step)
        parts = super()._gradients(step, loss_func, scaler, sync_loss)
        self.model.after_step(step)
        return parts
