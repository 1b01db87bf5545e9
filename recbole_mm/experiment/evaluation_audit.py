"""Knock-outs at the evaluation of a plan's trained rows, no weight trained anew: runs of their own in the store."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from recbole_mm.experiment.audit import ALL
from recbole_mm.experiment.identity import knock_out_name, knock_out_text
from recbole_mm.experiment.inference_audit import KEPT, REBUILT, Key, replaced
from recbole_mm.experiment.measured import evaluate_checkpoint, per_user_table
from recbole_mm.experiment.record import Record, RunResult
from recbole_mm.experiment.rows import Row, is_solved, modalities_of
from recbole_mm.host.datasets import data_set
from recbole_mm.load import open_checkpoint


def audited_keys(row: Row, kinds: Sequence[str]) -> list[Key]:
    """Modality, kind and way of the graphs of each knock-out of a row; none where a trained model reads no features."""
    names = [] if row.sweep or row.audit or is_solved(row.config()) else modalities_of(row)
    targets = [*names, *([ALL] if len(names) > 1 else [])]
    return list(itertools.product(targets, kinds, (KEPT, REBUILT)))


def audit_run(record: Record, file: str, keys: Sequence[Key], trusts_plugins: bool) -> Iterator[RunResult]:
    """What a run is with its features replaced.

    Args:
        record: of the run.
        file: its checkpoint.
        keys: of :func:`audited_keys`.
        trusts_plugins: whether the modules that the user had the run import may be imported again.
    """
    kinds = list(dict.fromkeys(kind for _, kind, _ in keys))
    real = open_checkpoint(file, trust_plugins=trusts_plugins)
    for key, opened in replaced(real, kinds, {"trust_plugins": trusts_plugins}):
        users = evaluate_checkpoint(opened)
        modality, kind, graphs = key
        what = knock_out_text(kind, graphs)
        own = replace(
            record, run=knock_out_name(record.run, key), row=knock_out_name(record.row, key),
            label=f"{record.label}, {modality} {what}", test=users.averages, beyond={},
            seconds=math.nan, seconds_per_epoch=math.nan, peak_memory=math.nan,
            audit=json.dumps({"row": record.label, "modality": modality, "kind": what}),
        )  # fmt: skip
        yield RunResult(own, per_user_table(users, data_set(opened.train_data)))
