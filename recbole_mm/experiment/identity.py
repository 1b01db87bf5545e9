"""What rows and runs are called in a store: hashes of all that their results depend on, but for the data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from recbole_mm.experiment.plan_terms import AT_EVALUATION

_GRAPHS = ", graphs "


def digest(value: Any) -> str:
    """A name of 16 letters for a value of JSON's types."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


def row_name(dataset: str, model: str, settings: Mapping[str, Any], sweep: Mapping[str, Any] | None = None) -> str:
    """Name of a row.

    Args:
        dataset, model: their names.
        settings: without those that change no result.
        sweep: of a point of a study beside a row, the values that the study varies: where they happen to be the row's
            own, the point is a run of its own all the same.
    """
    facts = {"dataset": dataset, "model": model, "settings": settings}
    return digest({**facts, "sweep": sweep} if sweep else facts)


def run_name(row: str, seed: int) -> str:
    """Name of a row's run with a seed."""
    return digest({"row": row, "seed": seed})


def knock_out_name(name: str, key: Sequence[str]) -> str:
    """Name of a run, or of its row, whose features are replaced at its evaluation alone: modality, kind, graphs."""
    return digest({"run": name, "knock_out": list(key)})


def knock_out_text(kind: str, graphs: str) -> str:
    """What a knock-out at the evaluation is called in the audit of its record."""
    return f"{kind}{AT_EVALUATION}{_GRAPHS}{graphs}"


def possible_names(
    dataset: str, model: str, settings: Mapping[str, Any], sweep: Mapping[str, Any], audit: Mapping[str, Any], seed: int
) -> list[tuple[str, str]]:
    """Names of row and run that a record of these facts may have; a study of a model without a row has the row's."""
    rows = [row_name(dataset, model, settings, varied) for varied in ([{}, sweep] if sweep else [{}])]
    names = [(row, run_name(row, seed)) for row in rows]
    kind, _, graphs = str(audit.get("kind", "")).partition(f"{AT_EVALUATION}{_GRAPHS}")
    if not graphs:
        return names
    key = [str(audit.get("modality", "")), kind, graphs]
    return [(knock_out_name(row, key), knock_out_name(run, key)) for row, run in names]
