"""What each test user got: metrics one by one, and the list of recommended items."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from recbole.evaluator import Evaluator
from recbole.evaluator.base_metric import TopkMetric
from recbole.evaluator.collector import DataStruct
from recbole.evaluator.register import metrics_dict

from recbole_mm.host.candidates import candidate_loaders


@dataclass(frozen=True)
class UserResults:
    """One evaluation, by user.

    Attributes:
        users: their ids in the files, in the order of the rows below.
        metrics: by name, such as ``ndcg@20``: ``float32 [n_users]``.
        items: internal ids of the recommended items, best first, ``int64 [n_users, max(topk)]``.
        averages: over all users, and with cold items those of each candidate set too, such as ``cold_ndcg@20``.
        of_candidates: with cold items, `metrics` of these names; NaN for users who have no such item held out.
    """

    users: list[str]
    metrics: dict[str, np.ndarray]
    items: np.ndarray
    averages: dict[str, float]
    of_candidates: dict[str, np.ndarray] = field(default_factory=dict)


def is_by_user(metric: str) -> bool:
    """Whether a metric of RecBole's, by its name, is measured for each user, and not of all lists together."""
    return issubclass(metrics_dict[metric.lower()], TopkMetric)


def evaluate_users(trainer: Any, loader: Any, load_best_model: bool = True) -> UserResults:
    """Evaluate a model, user by user, through RecBole's own evaluation and metrics.

    Args:
        trainer: RecBole's or ours.
        loader: full-sort evaluation data.
        load_best_model: whether the weights of the trainer's best epoch are evaluated, which its `fit` has saved.
    """
    evaluator, kept = trainer.evaluator, []
    setattr(trainer.eval_collector.register, "rec.items", True)  # RecBole collects them for some metrics alone
    evaluate = evaluator.evaluate

    def keep(struct: DataStruct) -> dict[str, float]:
        kept.append(struct)
        return evaluate(struct)

    evaluator.evaluate = keep
    try:
        averages = trainer.evaluate(loader, load_best_model=load_best_model)
    finally:
        evaluator.evaluate = evaluate
    tokens = loader._dataset.id2token(loader._dataset.uid_field, loader.uid_list.cpu().numpy())
    averages = {name.lower(): float(value) for name, value in averages.items()}  # which RecBole rounds to 4 digits
    of_all, *by_set = (_by_user(evaluator, struct) for struct in kept)
    averages |= _means(of_all)
    of_candidates: dict[str, np.ndarray] = {}
    for (name, part), found in zip(candidate_loaders(loader).items(), by_set, strict=True):
        prefixed = {f"{name}_{metric}": values for metric, values in found.items()}
        averages |= _means(prefixed)
        has_some = np.isin(loader.uid_list.cpu(), part.uid_list.cpu())
        of_candidates |= {metric: _spread(values, has_some) for metric, values in prefixed.items()}
    items = kept[0].get("rec.items").cpu().numpy()
    return UserResults([str(token) for token in tokens], of_all, items, averages, of_candidates)


def _means(metrics: dict[str, np.ndarray]) -> dict[str, float]:
    return {name: float(values.mean(dtype=np.float64)) for name, values in metrics.items()}


def _spread(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """``[n_users]`` with the values at the places, bool ``[n_users]``, that have some, and NaN at all others."""
    spread = np.full(len(places), np.nan, dtype=values.dtype)
    spread[places] = values
    return spread


def _by_user(evaluator: Evaluator, struct: DataStruct) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for name, metric in evaluator.metric_class.items():
        if not isinstance(metric, TopkMetric):
            continue
        values = _values(metric, struct)
        if values is not None:
            found |= {f"{name}@{k}": values[:, k - 1].astype(np.float32) for k in metric.topk}
    return found


def _values(metric: TopkMetric, struct: DataStruct) -> np.ndarray | None:
    """``[n_users, max(topk)]``, what RecBole takes the mean of."""
    captured: list[np.ndarray] = []
    average = metric.topk_result

    def capture(name: str, value: np.ndarray) -> dict[str, float]:
        captured.append(np.asarray(value))
        return average(name, value)

    metric.topk_result = capture
    try:
        metric.calculate_metric(struct)
    finally:
        del metric.topk_result
    return captured[0] if captured and captured[0].ndim == 2 else None
