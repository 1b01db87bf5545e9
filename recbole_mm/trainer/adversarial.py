"""Training against a critic, with batches of users: MMSSL."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from recbole_mm.registry import register_trainer
from recbole_mm.trainer.trainer import MultimodalTrainer


@register_trainer("MMSSL")
class AdversarialTrainer(MultimodalTrainer):
    """Each step trains the model's critic, then the model, and then lets it renew its graphs.

    Batches are the model's own (``model.user_batches``), not the loader's. The model has ``critic_step(batch)`` and
    ``after_step(batch, is_last)``.
    """

    def __init__(self, config, model):
        if not config["single_spec"]:
            raise ValueError(f"{config['model']} trains against a critic, which takes one process; leave --nproc out")
        super().__init__(config, model)
        self._steps_left = 0

    def _train_epoch(self, train_data, epoch_idx, loss_func=None, show_progress=False):
        batches = self.model.user_batches.of_epoch(self.config["seed"], epoch_idx)
        self._steps_left = len(batches)
        return super()._train_epoch(batches, epoch_idx, loss_func, show_progress)

    def _gradients(self, step: Any, loss_func, scaler, sync_loss: Tensor | float = 0) -> Tensor:
        step = step.to(self.device)
        self.model.critic_step(step)
        parts = super()._gradients(step, loss_func, scaler, sync_loss)
        self._steps_left -= 1
        self.model.after_step(step, self._steps_left == 0)
        return parts
