"""What a trained model loses where a modality is replaced at its evaluation alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from recbole_mm.data.knock_out import knock_out
from recbole_mm.experiment.audit import ALL
from recbole_mm.experiment.measured import evaluate_checkpoint, per_user_table, training_counts
from recbole_mm.experiment.statistics import compare
from recbole_mm.experiment.strata import beyond_accuracy
from recbole_mm.host.datasets import data_set
from recbole_mm.host.user_results import UserResults
from recbole_mm.load import OpenedCheckpoint, open_checkpoint
from recbole_mm.model.closed_form import ClosedFormRecommender
from recbole_mm.model.recommender import Recommender

KEPT, REBUILT = "kept", "rebuilt"
Key = tuple[str, str, str]  # modality, kind, and how the graphs are
TOP_SHARE = "top share"


def audit_checkpoint(file: Path, kinds: Sequence[str], **opening: Any) -> pd.DataFrame:
    """Test metrics of a checkpoint with each of its modalities, and all, replaced, no weight trained anew.

    Graphs over items are kept as they were at training, or rebuilt of the replaced features; a model whose scores read
    features through those graphs alone loses nothing where they are kept. Of a model that trains its features, the
    trained ones are replaced.

    Args:
        file: any of a run's files.
        kinds: of :data:`recbole_mm.data.knock_out.KNOCK_OUTS`.
        opening: as of :func:`recbole_mm.load.open_checkpoint`.

    Returns:
        A row for each modality, kind and way of the graphs: the metrics, the share of the lists' places that go to the
        100 most popular items, the ``change`` of the metric that chose the epochs as a share of its value, and ``p`` of
        the paired t-test over users after Holm's correction. The first row is the model as it is.

    Raises as `open_checkpoint`; ValueError where the model reads no features, is solved from them, or is tested on
    sampled items.
    """
    real = open_checkpoint(file, **opening)
    if not isinstance(real.model, Recommender) or not real.model.modalities:
        raise ValueError(f"{file}: {type(real.model).__name__} reads no features, so there is nothing to replace")
    if isinstance(real.model, ClosedFormRecommender):
        raise ValueError(
            f"{file}: {type(real.model).__name__} is solved from its features, and without them it is another model; "
            "audit a plan, whose rows are trained again"
        )
    metric = real.config["valid_metric"].lower()
    averages, by_user = _evaluate(real, metric)
    rows: list[tuple[object, ...]] = [("", "", "", *averages.values())]
    values = {}
    for key, opened in replaced(real, kinds, opening):
        changed, values[key] = _evaluate(opened, metric)
        rows.append((*key, *changed.values()))
    found = list(compare(values, by_user).values())
    table = pd.DataFrame(rows, columns=["modality", "replaced by", "graphs", *averages])
    table["change"] = [0.0, *(comparison.relative for comparison in found)]
    table["p"] = [1.0, *(comparison.p for comparison in found)]
    return table


def replaced(
    real: OpenedCheckpoint, kinds: Sequence[str], opening: dict[str, Any]
) -> Iterator[tuple[Key, OpenedCheckpoint]]:
    """A checkpoint with features replaced in one way after the other, each until the next is asked for.

    Args:
        real: as it is, and again in the end.
        kinds: of :data:`recbole_mm.data.knock_out.KNOCK_OUTS`.
        opening: as of :func:`recbole_mm.load.open_checkpoint`.
    """
    names = real.model.modalities
    for name in [*names, *([ALL] if len(names) > 1 else [])]:
        for kind in kinds:
            targets = names if name == ALL else [name]
            rebuilt = open_checkpoint(real.path, **opening, knock_out=dict.fromkeys(targets, kind))
            kept = {target: _table(real, target).detach().clone() for target in targets}
            for target in targets:
                if _table(real, target).requires_grad:
                    _knock_out(rebuilt, target, kind)
                _copy(real, target, _table(rebuilt, target))
            yield (name, kind, KEPT), real
            for target, table in kept.items():
                _copy(real, target, table)
            yield (name, kind, REBUILT), rebuilt


def _table(opened: OpenedCheckpoint, name: str) -> Tensor:
    return getattr(opened.model, "backbone", opened.model).features[name]


def _copy(opened: OpenedCheckpoint, name: str, table: Tensor) -> None:
    with torch.no_grad():
        features = _table(opened, name)
        if not features.requires_grad:  # which the data set shares
            features = features.clone()
            getattr(opened.model, "backbone", opened.model).features.replace(name, features)
        features.copy_(table)


def _knock_out(opened: OpenedCheckpoint, name: str, kind: str) -> None:
    """Replace a trained table."""
    table = _table(opened, name).detach().cpu().numpy().copy()
    knock_out(table, np.arange(len(table)) > 0, kind, name, opened.config["seed"])
    _copy(opened, name, torch.from_numpy(table))


def _evaluate(opened: OpenedCheckpoint, metric: str) -> tuple[dict[str, float], pd.DataFrame]:
    results = evaluate_checkpoint(opened)
    by_user = pd.DataFrame({"value": results.metrics[metric]}, index=results.users)
    return {**results.averages, TOP_SHARE: _top_share(opened, results, metric)}, by_user


def _top_share(opened: OpenedCheckpoint, results: UserResults, metric: str) -> float:
    """Of the lists' places, as long as the metric's, the share of the 100 most popular items."""
    dataset = data_set(opened.train_data)
    lists = per_user_table(results, dataset)["items"]
    return beyond_accuracy(lists, training_counts(dataset)["items"], int(metric.rpartition("@")[2]))[TOP_SHARE]
