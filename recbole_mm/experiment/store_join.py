"""What of several stores becomes one: the runs of their tables, whose rows are the same where they are called alike."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from recbole_mm.experiment.record import Record
from recbole_mm.experiment.store_data import keep_data, read_data
from recbole_mm.experiment.store_files import read_parquet, read_trials
from recbole_mm.experiment.table_forms import TRIALS, TableForm
from recbole_mm.io.files import atomic_file
from recbole_mm.io.reading import files_in, has_file

_PARTS = ("runs", "data", "trials", "leaks")


def runs_of_tables(store: Path) -> list[str]:
    """The runs of a store's tables, which leave out those of settings that its plan had before.

    All runs where it has no tables, as its experiment has not ended.
    """
    file = store / "runs.parquet"
    if not has_file(file):
        return [run.stem for run in files_in(store / "runs", "*.json")]
    return list(read_parquet(file, TableForm({"run": "text"}))["run"])


def searches_of_tables(store: Path) -> set[str]:
    """The searches whose settings stand in a store's table of trials; all where it has no such table."""
    files, table = files_in(store / "trials", "*.json"), store / "trials.parquet"
    if not has_file(table):
        return {file.stem for file in files}
    sizes = Counter(read_parquet(table, TRIALS)["row"])
    found = {file.stem: read_trials(file) for file in files}
    return {search for search, trials in found.items() if sizes[trials[0].row] == len(trials)}


def check_rows(records: Iterable[Record]) -> None:
    """Raise ValueError where two rows with one label have other settings, whose runs would pass for seeds of one."""
    first: dict[tuple[str, ...], Record] = {}
    for record in records:
        other = first.setdefault((record.dataset, record.label, record.sweep, record.audit), record)
        if other.row == record.row:
            continue
        old, new = json.loads(other.settings), json.loads(record.settings)
        keys = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
        what = f"other values of {', '.join(keys)}" if keys else "other models"
        raise ValueError(
            f"two rows '{record.label}' of {record.dataset} have {what}; give them labels of their own in their plans"
        )


def copy_parts(source: Path, target: Path) -> None:
    """Copy the files of a store that another lacks; of items what it does not know of them."""
    for file in sorted(source.rglob("*")):
        parts = file.relative_to(source).parts
        if parts[0] not in _PARTS or file.is_dir() or not has_file(file):
            continue
        copy = target.joinpath(*parts)
        if parts[0] == "data":
            keep_data(target, parts[1], file.stem, read_data(source, parts[1], file.stem))
        elif not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            with atomic_file(copy) as temporary:
                temporary.write_bytes(file.read_bytes())
