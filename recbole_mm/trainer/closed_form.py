"""The trainer of models that are solved in closed form."""

from __future__ import annotations

from recbole.utils import set_color

from recbole_mm.trainer.trainer import MultimodalTrainer


class ClosedFormTrainer(MultimodalTrainer):
    """Solves once and evaluates once: whatever ``epochs`` says there is no batch, no loss and no optimizer step."""

    def __init__(self, config, model):
        super().__init__(config, model)
        self.epochs = self.eval_step = 1  # RecBole's loop goes round once, with an evaluation at its end

    def _train_epoch(self, train_data, epoch_idx, loss_func=None, show_progress=False):
        self.model.train()
        self.model.solution()
        return 0.0

    def _generate_train_loss_output(self, epoch_idx, s_time, e_time, losses):
        return set_color("solved in closed form", "green") + f" [time: {e_time - s_time:.2f}s]"

    def _add_train_loss_to_tensorboard(self, epoch_idx, losses, tag="Loss/Train"):
        """There is no loss to show."""
