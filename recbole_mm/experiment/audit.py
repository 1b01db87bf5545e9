"""Rows with modalities replaced or left out: what each modality is worth to each model."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from recbole_mm.experiment.plan_terms import EVALUATION, ID_ONLY, LEAK, WITHOUT
from recbole_mm.experiment.rows import Row, check_row, modalities_of
from recbole_mm.model.backbone_model import id_only_model
from recbole_mm.registration import recbole_models
from recbole_mm.registry import MODELS

ALL = "all"  # modalities at once
_NOT_OF_A_ROW = (ID_ONLY, LEAK, EVALUATION)


def audit_rows(row: Row, kinds: Sequence[str]) -> list[Row]:
    """The row with each of its modalities replaced or left out, and with all replaced; none of a model without any.

    Args:
        row: of the table; its settings, once they are chosen, are those of all.
        kinds: ``audit`` of the plan.

    Raises as :func:`recbole_mm.experiment.rows.check_row`.
    """
    kinds = [kind for kind in kinds if kind not in _NOT_OF_A_ROW]
    if row.sweep or not kinds:
        return []
    found = modalities_of(row)
    targets = {name: [name] for name in found} | ({ALL: found} if len(found) > 1 else {})
    rows = []
    for kind, (target, names) in itertools.product(kinds, targets.items()):
        left = [name for name in found if name not in names]
        if kind == WITHOUT and not left:
            continue
        changed: dict[str, Any] = {"modalities": left} if kind == WITHOUT else {"knock_out": dict.fromkeys(names, kind)}
        rows.append(
            replace(
                row, label=f"{row.label}, {target} {kind}", settings={**row.settings, **changed}, grid={},
                own={**row.own, **changed}, audit={"row": row.label, "modality": target, "kind": kind},
            )  # fmt: skip
        )
    for audited in rows:
        check_row(audited)
    return rows


def id_only_rows(rows: Sequence[Row]) -> list[Row]:
    """Rows for the models of IDs alone that rows of the table stand on, where it has none; settings are the plan's own.

    Raises as :func:`recbole_mm.experiment.rows.check_row`.
    """
    there = {(row.dataset, row.model) for row in rows if not row.sweep}
    labels = {row.label for row in rows}
    added: dict[tuple[str, str], Row] = {}
    for row in rows:
        model = None if row.sweep or not modalities_of(row) else id_only_model(row.model, row.settings)
        key = row.dataset, model or ""
        if model is None or key in there or key in added or model not in {*MODELS, *recbole_models()}:
            continue
        common = {name: value for name, value in row.settings.items() if name not in row.own}
        label = f"{model}, ids alone" if model in labels else model
        added[key] = replace(row, label=label, model=model, settings=common, own={}, grid={})
        check_row(added[key])
    return list(added.values())
