"""The trainer of every multimodal model: RecBole's Trainer with a faster epoch and checkpoints that resume exactly."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.distributed as dist
from recbole.trainer import Trainer
from recbole.utils import get_gpu_usage, set_color
from torch import Tensor, optim
from torch.nn.utils import clip_grad_norm_
from tqdm import tqdm

from recbole_mm.host.divergence import check_batches
from recbole_mm.trainer import processes
from recbole_mm.trainer.allocator import give_back_freed_memory, keep_freed_memory
from recbole_mm.trainer.checkpoint import (
    check_same_features,
    feature_fingerprints,
    fingerprint,
    of_one_process,
    one_line,
    random_state,
    read_pickle,
    set_random_state,
    write_atomically,
    write_safe_pair,
)

FUSED_OPTIMIZERS = {"adam": optim.Adam, "adamw": optim.AdamW, "sgd": optim.SGD, "adagrad": optim.Adagrad}


class MultimodalTrainer(Trainer):
    """RecBole's Trainer: same early stopping, best model, logs, TensorBoard, W&B, progress bar and callbacks.

    What it adds: the model's `before_epoch` hook, fused optimizers, no wait for the device within an epoch, a
    learning-rate schedule (``lr_decay: {factor: 0.96, epochs: 50}`` multiplies it by ``factor ** (epoch / epochs)``),
    one encoding per evaluation, and checkpoints that carry the random states, so that a killed run goes on from its
    last one (``resume_from: FILE``) to the numbers it would have reached.
    """

    resumes_exactly = True

    def __init__(self, config, model):
        self._in_processes = not config["single_spec"]
        if self._in_processes:
            processes.keep_constants_local(model)
        super().__init__(config, model)
        self._loss_factor = 1
        if self._in_processes:
            self.saved_model_file = processes.agree_on(self.saved_model_file)
            self.evaluator = processes.GlobalEvaluator(self.evaluator)
            self._loss_factor = processes.loss_factor(model)
        self._keeps_freed_memory = self.device.type == "cpu" and keep_freed_memory()
        self.model.trainer_starts_epochs = True
        self.scheduler = self._build_scheduler()
        self._train_data = None
        self._latest_valid_result = None
        self._data_fingerprint: str | None = None
        self._feature_fingerprints: dict[str, str] | None = None
        self._resumed_fingerprints: tuple[str | None, dict[str, str] | None] = (None, None)
        self._resumed_random_state = None
        self._has_resumed = False

    # ---------------------------------------------------------------- optimisation

    def _build_optimizer(self, **kwargs):
        kind = FUSED_OPTIMIZERS.get(kwargs.get("learner", self.learner).lower())
        if kind is None:
            return super()._build_optimizer(**kwargs)
        params = kwargs.get("params") or self.model.parameters()
        return kind(
            [parameter for parameter in params if parameter.requires_grad],
            lr=kwargs.get("learning_rate", self.learning_rate),
            weight_decay=kwargs.get("weight_decay", self.weight_decay),
            fused=True,
        )

    def _build_scheduler(self):
        decay = self.config["lr_decay"]
        if decay is None:
            return None
        if not isinstance(decay, dict) or set(decay) != {"factor", "epochs"}:
            raise ValueError(f"lr_decay: {decay} must be a dict such as {{'factor': 0.96, 'epochs': 50}}")
        factor, epochs = float(decay["factor"]), float(decay["epochs"])
        return optim.lr_scheduler.LambdaLR(self.optimizer, lambda epoch: factor ** (epoch / epochs))

    def fit(self, train_data, valid_data=None, verbose=True, saved=True, show_progress=False, callback_fn=None):
        """As RecBole's; starts from the checkpoint ``resume_from`` where the configuration names one."""
        self._train_data = train_data
        self._data_fingerprint = fingerprint(train_data._dataset)
        self._feature_fingerprints = feature_fingerprints(self.model, train_data._dataset)
        _give_generator(train_data, self.config["seed"])
        if self.config["resume_from"] and not self._has_resumed:
            self.resume_checkpoint(self.config["resume_from"])
        if self._resumed_random_state is not None:
            self._check_same_data()
            set_random_state(self._resumed_random_state["global"])
            train_data.generator.set_state(self._resumed_random_state["loader"].cpu())
        return super().fit(train_data, valid_data, verbose, saved, show_progress, callback_fn)

    def _train_epoch(self, train_data, epoch_idx, loss_func=None, show_progress=False):
        """One epoch. Losses stay on the device and are summed and checked once, at its end."""
        self.model.train()
        self.model.start_epoch(epoch_idx)
        loss_func = loss_func or self.model.calculate_loss
        if self._in_processes and train_data.shuffle:
            train_data.sampler.set_epoch(epoch_idx)
        batches = train_data
        if show_progress:
            batches = tqdm(train_data, ncols=100, desc=set_color(self._progress_label(epoch_idx), "pink"))
        scaler = torch.amp.GradScaler(self.device.type, enabled=self.enable_scaler)
        losses = []
        for interaction in batches:
            losses.append(self._train_batch(interaction.to(self.device), loss_func, scaler))
            if self.gpu_available and show_progress:
                batches.set_postfix_str(set_color("GPU RAM: " + get_gpu_usage(self.device), "yellow"))
        self.optimizer.zero_grad()  # gradients of trained features are large, and an evaluation needs none
        if self.scheduler is not None:
            self.scheduler.step()
        check_batches(self, losses)
        total = sum(losses)
        return tuple(total.tolist()) if total.dim() else total.item()

    def _progress_label(self, epoch: int) -> str:
        return f"Train {epoch:>5}"

    def _train_batch(self, interaction, loss_func, scaler) -> Tensor:
        """One step; gives the loss, or its parts ``[n_parts]`` where the model gives several, detached."""
        self.optimizer.zero_grad()
        sync_loss, idle = 0, []
        if self._in_processes:
            self.set_reduce_hook()
            sync_loss = self.sync_grad_loss()
            idle = self.model.idle_parameters()
        with torch.autocast(device_type=self.device.type, enabled=self.enable_amp):
            losses = loss_func(interaction)
        parts = torch.stack(losses) if isinstance(losses, tuple) else losses
        scaler.scale(parts.sum() * self._loss_factor + sync_loss).backward()
        for parameter in idle:
            parameter.grad = None  # sync_loss made it zero, on which Adam would move the parameter by its momentum
        if self.clip_grad_norm:
            scaler.unscale_(self.optimizer)
            clip_grad_norm_(self.model.parameters(), **self.clip_grad_norm)
        scaler.step(self.optimizer)
        scaler.update()
        return parts.detach()

    # ---------------------------------------------------------------- evaluation

    def _valid_epoch(self, valid_data, show_progress=False):
        score, self._latest_valid_result = super()._valid_epoch(valid_data, show_progress)
        return score, self._latest_valid_result

    def evaluate(self, eval_data, load_best_model=True, model_file=None, show_progress=False):
        """As RecBole's, with the users and items encoded once for all batches, and over the users of all processes."""
        if self._in_processes and eval_data:
            processes.count_each_user_once(eval_data)
            dist.barrier()  # the first process has written the best checkpoint
        with self.model.scores_cached():
            result = super().evaluate(eval_data, load_best_model, model_file, show_progress)
        if self._keeps_freed_memory:
            give_back_freed_memory()
        return result

    def _map_reduce(self, result, num_sample):
        return result  # of all processes already

    # ---------------------------------------------------------------- checkpoints

    def _save_checkpoint(self, epoch, verbose=True, **kwargs):
        if self._in_processes and self.config["local_rank"] != 0:
            return
        epoch = max(epoch, self.start_epoch - 1)  # RecBole says -1 where no epoch is left to train
        path = Path(kwargs.pop("saved_model_file", self.saved_model_file))
        write_atomically(path, lambda file: torch.save(self._state(epoch), file, pickle_protocol=4))
        prints = self._data_fingerprint, self._feature_fingerprints
        write_safe_pair(path, self.config, self.model, *prints, self._latest_valid_result)
        if verbose:
            self.logger.info(set_color("Saving current", "blue") + f": {path}")

    def _state(self, epoch: int) -> dict:
        """RecBole's checkpoint and what an exact resume needs beyond it."""
        return {
            "config": of_one_process(self.config),
            "epoch": epoch,
            "cur_step": self.cur_step,
            "best_valid_score": self.best_valid_score,
            "best_valid_result": self._latest_valid_result,
            "state_dict": self.model.state_dict(),
            "other_parameter": self.model.other_parameter(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": None if self.scheduler is None else self.scheduler.state_dict(),
            "fingerprint": self._data_fingerprint,
            "features": self._feature_fingerprints,
            "random_state": {
                "global": random_state(),
                "loader": None if self._train_data is None else self._train_data.generator.get_state(),
            },
        }

    def resume_checkpoint(self, resume_file):
        """Go on from a checkpoint of this trainer.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is damaged, or of another model, or its weights do not fit this data set.
        """
        checkpoint = self._read(Path(resume_file))
        try:
            self.model.load_state_dict(checkpoint["state_dict"])
            self.optimizer.load_state_dict(checkpoint["optimizer"])
        except (RuntimeError, ValueError) as error:
            raise ValueError(
                f"checkpoint {resume_file} does not fit this run: it was trained on data set "
                f"'{checkpoint['config']['dataset']}' or with other settings ({one_line(error)})"
            ) from error
        self.model.load_other_parameter(checkpoint.get("other_parameter"))
        if self.scheduler is not None and checkpoint["scheduler"] is not None:
            self.scheduler.load_state_dict(checkpoint["scheduler"])
        self.saved_model_file = str(resume_file)
        self.start_epoch = checkpoint["epoch"] + 1
        self.cur_step = checkpoint["cur_step"]
        self.best_valid_score = checkpoint["best_valid_score"]
        self.best_valid_result = self._latest_valid_result = checkpoint["best_valid_result"]
        self._resumed_random_state = checkpoint["random_state"]
        self._resumed_fingerprints = checkpoint["fingerprint"], checkpoint.get("features")
        self._has_resumed = True
        self.logger.info(f"Checkpoint loaded. Resume training from epoch {self.start_epoch}")

    def _check_same_data(self) -> None:
        data, features = self._resumed_fingerprints
        if data not in (None, self._data_fingerprint):
            raise ValueError(
                f"checkpoint {self.saved_model_file} was trained on other users, items or training interactions than "
                f"those of '{self.config['dataset']}' in {self.config['data_path']}; resume it on its own data set"
            )
        check_same_features(f"checkpoint {self.saved_model_file}", features, self._feature_fingerprints)

    def _read(self, path: Path) -> dict:
        if not path.is_file():
            raise FileNotFoundError(f"resume_from: checkpoint {path} does not exist")
        checkpoint = read_pickle(path, self.device)
        if "random_state" not in checkpoint:
            raise ValueError(f"checkpoint {path} was not written by recbole_mm's trainer; it cannot resume exactly")
        saved_model = checkpoint["config"]["model"]
        if saved_model.lower() != self.config["model"].lower():
            raise ValueError(f"checkpoint {path} is of model {saved_model}, this run is of {self.config['model']}")
        return checkpoint


def _give_generator(train_data, seed: int) -> None:
    """RecBole's `save_dataloaders` leaves its loaders without one, so that they would shuffle unlike those it saved."""
    if train_data.generator is None:
        train_data.generator = train_data.sampler.generator = torch.Generator().manual_seed(seed)
