"""The trainer of every multimodal model: RecBole's Trainer with a faster epoch and evaluation, and exact resume."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.distributed as dist
from recbole.config import Config
from recbole.data.dataloader.abstract_dataloader import AbstractDataLoader
from recbole.data.interaction import Interaction
from recbole.evaluator import Evaluator
from recbole.utils import get_gpu_usage, set_color
from torch import Tensor, optim
from torch.nn.utils import clip_grad_norm_

from recbole_mm.host.candidates import candidate_loaders
from recbole_mm.host.divergence import check_batches
from recbole_mm.host.eager_optimizers import eager
from recbole_mm.host.terminal import progress_bar
from recbole_mm.model.recommender import TERM, Recommender
from recbole_mm.nn.gradient_memory import keep_gradient_memory
from recbole_mm.nn.sums import total
from recbole_mm.trainer import processes
from recbole_mm.trainer.allocator import give_back_freed_memory, keep_freed_memory
from recbole_mm.trainer.precision import check_matmul_precision, matmul_precision
from recbole_mm.trainer.resuming import ResumingTrainer

Loss = Tensor | tuple[Tensor, ...]  # a scalar, or its parts
LossFunction = Callable[[Interaction], Loss]
_FUSED = (optim.Adam, optim.AdamW, optim.SGD, optim.Adagrad)
FUSED_OPTIMIZERS: dict[str, Any] = {kind.__name__.lower(): eager(kind) for kind in _FUSED}


class MultimodalTrainer(ResumingTrainer):
    """RecBole's Trainer: same early stopping, best model, logs, TensorBoard, W&B, progress bar and callbacks.

    What it adds: the model's `before_epoch` hook, fused optimizers, no wait for the device within an epoch, a
    learning-rate schedule (``lr_decay: {factor: 0.96, epochs: 50}`` multiplies it by ``factor ** (epoch / epochs)``),
    one encoding per evaluation, and the exact resume of :class:`ResumingTrainer`.
    """

    evaluator: Evaluator | processes.GlobalEvaluator

    def __init__(self, config: Config, model: Recommender):
        self._in_processes = not config["single_spec"]
        if self._in_processes:
            processes.keep_constants_local(model)
        super().__init__(config, model)
        check_matmul_precision(self.settings.matmul_precision, self.device)
        self._loss_factor = 1
        self.records: dict[str, float] = {}
        if self._in_processes:
            self.evaluator = processes.GlobalEvaluator(self.evaluator)
            self._loss_factor = processes.loss_factor(model)
        self._keeps_freed_memory = self.device.type == "cpu" and keep_freed_memory()
        self.model.trainer_starts_epochs = True
        self.scheduler = self._build_scheduler()

    # ---------------------------------------------------------------- optimisation

    def _build_optimizer(self, **kwargs: Any) -> optim.Optimizer:
        learner = kwargs["learner"] if "learner" in kwargs else self.learner
        kind = FUSED_OPTIMIZERS.get(learner.lower())
        params = kwargs.pop("params", None) or self._parameter_groups()
        if kind is None:
            return super()._build_optimizer(params=params, **kwargs)
        return kind(
            params,
            lr=kwargs.get("learning_rate", self.learning_rate),
            weight_decay=kwargs.get("weight_decay", self.weight_decay),
            fused=True,
        )

    def _parameter_groups(self) -> list[dict[str, Any]]:
        """All that trains: first what has the common learning rate, then each group with one of its own.

        Raises ValueError where a rate is set for a group of which the last stage trains nothing.
        """
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        apart: set[int] = set()
        groups = []
        for name, parameters in self.model.parameter_groups().items():
            key = f"{name}_learning_rate"
            rate = self.config[key]
            own = [parameter for parameter in parameters if parameter.requires_grad]
            if rate is None:
                continue
            if own:
                groups.append({"params": own, "lr": rate})
                apart |= set(map(id, own))
                self.logger.info(f"{key}: {rate} for {sum(weight.numel() for weight in own):,} parameters")
            elif self._is_last_stage():
                raise ValueError(f"{key}: {rate} has nothing to train in this run; leave the key out")
        return [{"params": [weight for weight in trained if id(weight) not in apart]}, *groups]

    def _is_last_stage(self) -> bool:
        return True

    def _build_scheduler(self) -> optim.lr_scheduler.LambdaLR | None:
        decay = self.settings.lr_decay
        if decay is None:
            return None
        return optim.lr_scheduler.LambdaLR(self.optimizer, lambda epoch: decay.factor ** (epoch / decay.epochs))

    def _train_epoch(
        self,
        train_data: AbstractDataLoader,
        epoch_idx: int,
        loss_func: LossFunction | None = None,
        show_progress: bool = False,
    ) -> float | tuple[float, ...]:
        """One epoch. Losses stay on the device and are summed and checked once, at its end."""
        self._start_epoch(epoch_idx)
        loss_func = loss_func or self.model.calculate_loss
        if self._in_processes and train_data.shuffle:
            train_data.sampler.set_epoch(epoch_idx)
        batches = train_data
        if show_progress:
            batches = progress_bar(train_data, ncols=100, desc=set_color(self._progress_label(epoch_idx), "pink"))
        scaler = torch.amp.GradScaler(self.device.type, enabled=self.enable_scaler)
        losses = []
        with matmul_precision(self.settings.matmul_precision):
            for step in self._steps(batches):
                losses.append(self._train_batch(step, loss_func, scaler))
                if self.gpu_available and show_progress:
                    batches.set_postfix_str(set_color("GPU RAM: " + get_gpu_usage(self.device), "yellow"))
        self.optimizer.zero_grad()  # gradients of trained features are large, and an evaluation needs none
        if self.scheduler is not None:
            self.scheduler.step()
        check_batches(self, losses)
        self._show_records(epoch_idx)
        loss = total(losses)
        return tuple(loss.tolist()) if loss.dim() else loss.item()

    def _show_records(self, epoch: int) -> None:
        """What the model says of an epoch, in the log and TensorBoard; also :attr:`records`, for whoever watches."""
        records, diagnostics = self.model.records(), self.model.diagnostics()
        terms = {name: value for name, value in records.items() if name.startswith(TERM)}
        means = {name: value for name, value in records.items() if name not in terms}
        for what, found in (("means", means), ("terms", terms), ("diagnostics", diagnostics)):
            if found:
                values = ", ".join(f"{name}: {value:.4g}" for name, value in found.items())
                self.logger.info(set_color(f"epoch {epoch} {what}", "green") + f" [{values}]")
        self.records = {**records, **diagnostics}
        for name, value in self.records.items():
            self.tensorboard.add_scalar(f"Train/{name}", value, epoch)

    def _start_epoch(self, epoch: int) -> None:
        """Everything before the first batch; only here is all over that belongs to the epoch before."""
        if self._saves and self._saved_epoch < epoch - 1:
            self.save_last_state(epoch - 1)
        self.model.train()
        self.model.start_epoch(epoch)

    def _progress_label(self, epoch: int) -> str:
        return f"Train {epoch:>5}"

    def _steps(self, batches: Iterable[Any]) -> Iterable[Any]:
        """What each step of the optimizer is made of, which :meth:`_gradients` gets: here a batch."""
        return batches

    def _train_batch(self, step: Any, loss_func: LossFunction, scaler: torch.amp.GradScaler) -> Tensor:
        """One step; gives the loss, or its parts ``[n_parts]`` where the model gives several, detached."""
        keep_gradient_memory(parameter for group in self.optimizer.param_groups for parameter in group["params"])
        sync_loss, idle = 0, []
        if self._in_processes:
            self.set_reduce_hook()
            sync_loss = self.sync_grad_loss()
            idle = self.model.idle_parameters()
        parts = self._gradients(step, loss_func, scaler, sync_loss)
        for parameter in idle:
            parameter.grad = None  # sync_loss made it zero, on which Adam would move the parameter by its momentum
        if self.clip_grad_norm:
            scaler.unscale_(self.optimizer)
            clip_grad_norm_(self.model.parameters(), **self.clip_grad_norm)
        scaler.step(self.optimizer)
        scaler.update()
        return parts

    def _gradients(
        self, step: Any, loss_func: LossFunction, scaler: torch.amp.GradScaler, sync_loss: Tensor | float = 0
    ) -> Tensor:
        """Add the gradients of a step; gives its loss or the loss's parts, detached."""
        with torch.autocast(device_type=self.device.type, enabled=self.enable_amp):
            losses = loss_func(step.to(self.device))
        _check_loss(self.model, losses)
        parts = torch.stack(losses) if isinstance(losses, tuple) else losses
        scaler.scale(parts.sum() * self._loss_factor + sync_loss).backward()
        return parts.detach()

    # ---------------------------------------------------------------- evaluation

    def evaluate(
        self,
        eval_data: AbstractDataLoader | None,
        load_best_model: bool = True,
        model_file: str | None = None,
        show_progress: bool = False,
    ) -> dict[str, float] | None:
        """As RecBole's, with the users and items encoded once for all batches, and over the users of all processes.

        The best weights are read from the safe pair; a `.pth` without one needs ``trust_pickle: True``.
        """
        if self._in_processes and eval_data:
            for loader in (eval_data, *candidate_loaders(eval_data).values()):
                processes.count_each_user_once(loader)
            dist.barrier()  # the first process has written the best checkpoint
        if load_best_model and eval_data:
            self._load_best(model_file or self.saved_model_file)
        with self.model.scores_cached():
            result = super().evaluate(eval_data, load_best_model=False, show_progress=show_progress)
        if self._keeps_freed_memory:
            give_back_freed_memory()
        return result

    def _map_reduce(self, result: dict[str, float], num_sample: int) -> dict[str, float]:
        return result  # of all processes already


def _check_loss(model: Recommender, loss: Any) -> None:
    """Raise ValueError where what `calculate_loss` gave cannot be trained on."""
    parts = loss if isinstance(loss, tuple) else (loss,)
    wrong = [part for part in parts if not isinstance(part, Tensor) or part.numel() != 1]
    name = f"calculate_loss of {type(model).__name__}"
    if not parts or wrong:
        part = wrong[0] if wrong else loss
        what = list(part.shape) if isinstance(part, Tensor) else repr(part)
        raise ValueError(f"{name} gave {what}; give a scalar tensor, or a tuple of them, whose sum is trained on")
    if not any(part.requires_grad for part in parts):
        raise ValueError(f"{name} gave a loss that depends on no parameter; make it of what the model trains")
