"""Labels that models and metrics of values read: their type, gaps and classes, before anything is trained on them.

RecBole numbers labels of type token, fills gaps with their mean, and computes a loss of whatever it finds.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
from recbole.evaluator import metric_types
from recbole.utils import EvaluatorType, FeatureType

from recbole_mm.run_settings import evaluation_modes

OF_TWO_CLASSES = ("auc", "logloss")


def check_are_read(dataset: Any, is_read: bool) -> None:
    """Say where interactions that a label calls negative are taken for positive ones, as RecBole does without a word.

    Args:
        dataset: RecBole's, or ours, when it has filtered its interactions.
        is_read: whether the model, or the metrics, read labels.

    Raises ValueError where metrics of values are measured on drawn items (RecBole's issue 2117).
    """
    config = dataset.config
    key, field, least = _labels_of(dataset)
    if field not in dataset.inter_feat or dataset.field2type[field] != FeatureType.FLOAT:
        return
    n_negative = int((dataset.inter_feat[field] < least).sum())
    drawn = [mode for mode in evaluation_modes(config) if mode.startswith(("uni", "pop"))]
    if n_negative and drawn and metric_types[config["metrics"][0].lower()] == EvaluatorType.VALUE:
        raise ValueError(
            f"eval_args: mode: {drawn[0]} measures {', '.join(config['metrics'])} with every interaction as a positive "
            f"one, whatever {key} says; set mode: labeled"
        )
    if n_negative and not is_read:
        dataset.logger.warning(
            f"{key} is read neither by {config.model} nor by its metrics: the {n_negative:,} of "
            f"{len(dataset.inter_feat):,} interactions whose {field} is below {least:g} count as positive ones; leave "
            f"them out with val_interval: {{{field}: '[{least:g},inf)'}}"
        )


def _labels_of(dataset: Any) -> tuple[str, str, float]:
    """The key that labels come from, the column they are of, and the least value of a positive one."""
    if dataset.config["threshold"] is None:
        return f"LABEL_FIELD: {dataset.label_field}", dataset.label_field, 1
    ((field, least),) = dataset.config["threshold"].items()
    return f"threshold: {{{field}: {least:g}}}", field, least


def check_labels(dataset: Any) -> None:
    """Raise ValueError for labels of another type, with gaps, or that are not the two classes which metrics need."""
    config = dataset.config
    key, field, least = "LABEL_FIELD", dataset.label_field, None
    if config["threshold"] is not None:
        key = "threshold"
        ((field, least),) = config["threshold"].items()
    if dataset.field2type[field] != FeatureType.FLOAT:
        kind = dataset.field2type[field].value
        raise ValueError(f"{key}: '{field}' is of type {kind}, and labels are numbers; name its column {field}:float")
    values = dataset.inter_feat[field]
    if values.isna().any():
        raise ValueError(
            f"{key}: '{field}' is missing in {int(values.isna().sum()):,} of {len(values):,} interactions; fill it in, "
            "or leave them out"
        )
    if {name.lower() for name in config["metrics"]} & set(OF_TWO_CLASSES):
        _check_classes(f"{key}: '{field}'", values, least)


def _check_classes(what: str, values: pd.Series, least: float | None) -> None:
    others = values[~values.isin((0, 1))]
    if least is None and len(others):
        raise ValueError(
            f"{what} is {others.iloc[0]:g} in an interaction, and AUC and LogLoss need labels 0 and 1; make them with "
            f"threshold: {{{values.name}: {values.median():g}}}, or measure RMSE or MAE"
        )
    classes = values >= (1 if least is None else least)
    if classes.nunique() < 2:
        side = "is 1 or more" if classes.all() else "is below 1"
        if least is not None:
            side = f"is {'at least' if classes.all() else 'below'} {least:g}"
        raise ValueError(f"{what} {side} in all interactions, and AUC and LogLoss need labels of both classes")
