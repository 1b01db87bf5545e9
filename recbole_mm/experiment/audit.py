"""Rows with modalities replaced or left out: what each modality is worth to each model."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from recbole_mm.experiment.plan import LEAK, WITHOUT
from recbole_mm.experiment.rows import Row, check_row, modalities_of

ALL = "all"  # modalities at once
_OF_DATA = (LEAK,)  # which train no row again


def audit_rows(row: Row, kinds: Sequence[str]) -> list[Row]:
    """The row with each of its modalities replaced or left out, and with all replaced; none of a model without any.

    Args:
        row: of the table; its settings, once they are chosen, are those of all.
        kinds: ``audit`` of the plan.

    Raises as :func:`recbole_mm.experiment.rows.check_row`.
    """
    kinds = [kind for kind in kinds if kind not in _OF_DATA]
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
