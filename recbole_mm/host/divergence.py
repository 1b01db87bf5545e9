"""Trainings that diverge end in one line: the epoch, what is not finite, and what to try. RecBole's own models too.

RecBole says "Training loss is nan", lets an infinite loss pass, saves weights that have become NaN in the last step
of an epoch, and ranks NaN scores above all others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from recbole.config import Config
from recbole.evaluator.collector import Collector, DataStruct
from recbole.trainer.trainer import NCLTrainer, Trainer
from torch import Tensor

from recbole_mm.host.mend import mend_each, patch_in_place

GROWTH = 1000


class ScoresNotFinite(ValueError):
    """The scores of an evaluation hold NaN or plus infinity."""


@dataclass
class EpochWatch:
    """What a training loop has seen so far: the number of its current epoch and its smallest loss."""

    epoch: int
    smallest_loss: float = math.inf
    has_warned: bool = False


@cache
def apply() -> None:
    """Check losses, weights and scores. Called once, at import.

    trainer/trainer.py:264, 1471: the parts of a loss reach the check; 351: the check; 355: called by all of RecBole's
    training loops between an epoch and what is done with it; evaluator/collector.py:136, 221: the scores.
    """
    mend_each((Trainer._train_epoch, NCLTrainer._train_epoch), "self._check_nan(loss)", "self._check_nan(losses)")
    patch_in_place(Trainer._check_nan, check_losses)
    _check_every_epoch()
    _check_scores()


def check_losses(trainer: Trainer, losses: Tensor | tuple[Tensor, ...]) -> None:
    """Raise ValueError where the loss, or one of its parts, is not finite.

    Args:
        trainer: of the model.
        losses: a scalar, or the parts, as a tuple of scalars or ``[n_parts]``.
    """
    parts = losses if isinstance(losses, tuple) else losses.reshape(-1)
    values = [float(part.detach()) for part in parts]
    for number, value in enumerate(values, start=1):
        if not math.isfinite(value):
            part = f"part {number} of {len(values)} of its loss" if len(values) > 1 else "its loss"
            raise ValueError(describe(trainer, f"{part} is {value}"))


def check_batches(trainer: Trainer, losses: list[Tensor]) -> None:
    """As :func:`check_losses` for the batches of an epoch, in order; waits for the device once.

    It is the first loss that is not finite which counts: after that step all parts are NaN.
    """
    batches = torch.stack(losses).reshape(len(losses), -1)
    broken = ~batches.isfinite().all(dim=1)
    check_losses(trainer, batches[int(broken.int().argmax())])  # the first of the largest; batch 0 where none is broken


def describe(trainer: Trainer, what: str) -> str:
    """The one line about a training that has diverged."""
    rates = _learning_rates(trainer)
    weights = ", ".join(f"{key}: {value}" for key, value in _loss_weights(trainer.config).items())
    lower = f", lower the weight of a part of the loss ({weights})" if weights else ""
    saved = Path(trainer.saved_model_file)
    has_saved = _watch(trainer).epoch > trainer.start_epoch and saved.is_file() and saved.stat().st_size
    kept = f"the best epoch before it is in {saved}" if has_saved else "no epoch before it was saved"
    return (
        f"{trainer.config['model']} diverged in epoch {_watch(trainer).epoch}: {what}, with "
        f"{', '.join(f'{key}: {rate:g}' for key, rate in rates.items())}; lower {' or '.join(rates)}, "
        f"set clip_grad_norm: {{'max_norm': 1}}{lower}; {kept}"
    )


def _learning_rates(trainer: Trainer) -> dict[str, float]:
    """The optimizer's rate, as it is now, and those of groups and of a model's own optimizers, by their keys."""
    rate = next((group["lr"] for group in trainer.optimizer.param_groups), trainer.learning_rate)
    found = trainer.config.final_config_dict.items()
    others = {key: value for key, value in found if key.endswith("_learning_rate") and not key.startswith("stage_")}
    return {"learning_rate": rate} | {key: value for key, value in others.items() if value}


def _loss_weights(config: Config) -> dict[str, float]:
    found = {key: value for key, value in config.final_config_dict.items() if key.endswith("_weight")}
    return {key: value for key, value in found.items() if isinstance(value, (int, float)) and value > 0}


def _watch(trainer: Trainer) -> EpochWatch:
    return getattr(trainer, "epoch_watch", None) or EpochWatch(trainer.start_epoch)


def _check_every_epoch() -> None:
    def describe_epoch(
        trainer: Trainer, epoch: int, started: float, ended: float, losses: float | tuple[float, ...]
    ) -> str:
        trainer.epoch_watch = watch = _watch(trainer)
        watch.epoch = epoch
        parts = losses if isinstance(losses, tuple) else (losses,)
        check_losses(trainer, tuple(torch.tensor(part) for part in parts))
        _check_weights(trainer)
        _warn_of_growth(trainer, sum(parts))
        watch.epoch = epoch + 1
        return generate(trainer, epoch, started, ended, losses)

    generate = patch_in_place(Trainer._generate_train_loss_output, describe_epoch)


def _check_weights(trainer: Trainer) -> None:
    """Raise ValueError naming the first parameter that is not finite, though the losses of the epoch were."""
    named = dict(trainer.model.named_parameters())
    finite = torch.stack([tensor.detach().isfinite().all() for tensor in named.values()])
    for name, is_finite in zip(named, finite.tolist(), strict=True):
        if not is_finite:
            raise ValueError(describe(trainer, f"its weights {name} hold NaN or infinity"))


def _warn_of_growth(trainer: Trainer, loss: float) -> None:
    watch = trainer.epoch_watch
    if loss > GROWTH * watch.smallest_loss > 0 and not watch.has_warned:
        watch.has_warned = True
        trainer.logger.warning(
            f"epoch {watch.epoch}: the loss {loss:g} is more than {GROWTH} times its smallest, "
            f"{watch.smallest_loss:g}; {trainer.config['model']} may be diverging: lower "
            f"{' or '.join(f'{key} ({rate:g})' for key, rate in _learning_rates(trainer).items())}, or set "
            "clip_grad_norm: {'max_norm': 1}"
        )
    watch.smallest_loss = min(watch.smallest_loss, loss)


def _check_scores() -> None:
    """Keep the largest score of an evaluation, NaN if there is one, on the device; look at it once, at the end."""

    def collect_batch(collector: Collector, scores: Tensor, *batch: Any, **named: Any) -> None:
        if scores.numel():
            largest = scores.detach().amax().reshape(())
            before = getattr(collector, "largest_score", largest)
            collector.largest_score = torch.maximum(before, largest)
        collect(collector, scores, *batch, **named)

    def collected(collector: Collector) -> DataStruct:
        largest = vars(collector).pop("largest_score", torch.zeros(()))
        struct = get(collector)
        if largest.isnan() or largest == math.inf:
            raise ScoresNotFinite(
                f"{collector.config['model']}: scores of the evaluation are NaN or infinite, so nothing can be ranked: "
                "its weights have diverged, or a loss of it divides by zero; train again with a lower learning rate"
            )
        return struct

    collect = patch_in_place(Collector.eval_batch_collect, collect_batch)
    get = patch_in_place(Collector.get_data_struct, collected)
