"""What is told of an evaluation: to RecBole's callback, which learns epoch and score alone, and before it is saved."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

from recbole.trainer.trainer import Trainer

from recbole_mm.host.mend import patch_in_place

EpochCallback = Callable[[int, float], None]  # RecBole's callback_fn: of an epoch and its validation score
OnEvaluation = Callable[[int, float, dict[str, float], bool], None]
BeforeSaving = Callable[[float, dict[str, float]], None]


@cache
def apply() -> None:
    """Let every trainer keep its latest validation metrics, trainer/trainer.py:272. Called once, at import."""

    def validate(trainer: Trainer, *arguments: Any, **options: Any) -> tuple[float, dict[str, float]]:
        score, result = valid_epoch(trainer, *arguments, **options)
        if math.isnan(score):
            raise ValueError(f"validation: {trainer.valid_metric} is nan, by which no epoch can be chosen; the metrics "
                             f"are {dict(result)}")
        trainer.latest_valid_result = {metric: float(value) for metric, value in result.items()}
        tell = getattr(trainer, "tell_before_saving", None)
        if tell is not None:
            tell(float(score), trainer.latest_valid_result)
        return score, result

    valid_epoch = patch_in_place(Trainer._valid_epoch, validate)


def tell_before_saving(trainer: Any, function: BeforeSaving) -> None:
    """Have `function` called with score and metrics after each evaluation, before anything of it is saved.

    For what must be on disk when a checkpoint says that the epoch was evaluated: :func:`evaluation_callback` is later.
    """
    trainer.tell_before_saving = function


def evaluation_callback(trainer: Any, on_evaluation: OnEvaluation) -> EpochCallback:
    """What to give as ``callback_fn`` to a trainer's `fit`, RecBole's or ours.

    Args:
        trainer: whose `fit` it is for.
        on_evaluation: called after each evaluation, and after the checkpoint of a better one is written, with the
            epoch, counted from 0; the score, which is of ``valid_metric``; the validation metrics, such as
            ``recall@20``; and whether the score is better than all before it in its stage.
    """

    def callback(epoch: int, score: float) -> None:
        is_best = trainer.cur_step == 0  # RecBole counts the evaluations since the best one
        on_evaluation(epoch, float(score), trainer.latest_valid_result, is_best)

    return callback
