"""The trainer of models that are solved in closed form."""

from __future__ import annotations

from recbole.config import Config
from recbole.data.dataloader.abstract_dataloader import AbstractDataLoader
from recbole.utils import set_color

from recbole_mm.model.recommender import Recommender
from recbole_mm.trainer.trainer import LossFunction, MultimodalTrainer


class ClosedFormTrainer(MultimodalTrainer):
    """Solves once and evaluates once: whatever ``epochs`` says there is no batch, no loss and no optimizer step."""

    def __init__(self, config: Config, model: Recommender):
        super().__init__(config, model)
        self.epochs = self.eval_step = 1  # RecBole's loop goes round once, with an evaluation at its end

    def _train_epoch(
        self,
        train_data: AbstractDataLoader,
        epoch_idx: int,
        loss_func: LossFunction | None = None,
        show_progress: bool = False,
    ) -> float:
        self.model.train()
        self.model.solution()
        return 0.0

    def _generate_train_loss_output(self, epoch_idx: int, s_time: float, e_time: float, losses: float) -> str:
        return set_color("solved in closed form", "green") + f" [time: {e_time - s_time:.2f}s]"

    def _add_train_loss_to_tensorboard(self, epoch_idx: int, losses: float, tag: str = "Loss/Train") -> None:
        """There is no loss to show."""
