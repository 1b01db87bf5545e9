"""Labels that models and metrics of values read: their type, gaps and classes, before anything is trained on them.

RecBole numbers labels of type token, fills gaps with their mean, and computes a loss of whatever it finds.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
from recbole.utils import FeatureType

OF_TWO_CLASSES = ("auc", "logloss")


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
