"""Reading a store: its tables as data frames, and the values of a metric by seed and user."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from recbole_mm.experiment.record import NESTED, RECORD, Record, unflat
from recbole_mm.experiment.rows import label_of, plain
from recbole_mm.experiment.store import Store
from recbole_mm.experiment.store_data import check_data_tables, data_file, read_data
from recbole_mm.experiment.store_files import check_measured, checked, read_parquet
from recbole_mm.experiment.table_forms import CURVES, LEAKS, LISTS, OF_CANDIDATES, PER_USER, TRIALS, TableForm
from recbole_mm.io.errors import one_line
from recbole_mm.io.reading import has_file

_AGAIN = "write the tables again by experiment --resume"


@dataclass(frozen=True)
class StoreTables:
    """The tables of a store, as :mod:`recbole_mm.experiment.store` describes them; runs that failed stand apart.

    Attributes:
        folder: of the store.
        runs: those that ended well.
        failed: the others.
    """

    folder: Path
    runs: pd.DataFrame
    failed: pd.DataFrame
    per_user: pd.DataFrame
    lists: pd.DataFrame
    curves: pd.DataFrame
    trials: pd.DataFrame
    leaks: pd.DataFrame

    @property
    def datasets(self) -> list[str]:
        """Names of the data sets, in their order in the store."""
        return list(dict.fromkeys(self.runs["dataset"]))

    @property
    def metrics(self) -> list[str]:
        """Test metrics that there are by user, such as ``ndcg@20``, among all items."""
        names = [name for name in self.per_user.columns if name not in ("run", "user")]
        return [name for name in names if not name.startswith(OF_CANDIDATES)]

    def rows(self, dataset: str) -> pd.DataFrame:
        """The runs of the table's rows on a data set, without those of sweeps."""
        own = (self.runs["sweep"] == "{}") & (self.runs["audit"] == "{}")
        return self.runs[(self.runs["dataset"] == dataset) & own]

    def audits(self, dataset: str) -> dict[str, pd.DataFrame]:
        """The runs of each row of the table with modalities replaced, by label; columns ``modality`` and ``kind``."""
        runs = self.runs[(self.runs["dataset"] == dataset) & (self.runs["audit"] != "{}")]
        facts = pd.DataFrame([json.loads(text) for text in runs["audit"]], runs.index, ["row", "modality", "kind"])
        joined = pd.concat([runs.drop(columns="row"), facts], axis=1)
        return dict(iter(joined.groupby("row", sort=False)))

    def sweeps(self, dataset: str) -> dict[str, pd.DataFrame]:
        """The runs of each study of parameters, by the row and the keys it varies; a column of texts for each key.

        Numbers ascend; other values stand as the plan has them.
        """
        swept = self.runs[(self.runs["dataset"] == dataset) & (self.runs["sweep"] != "{}")]
        values = [json.loads(text) for text in swept["sweep"]]
        pairs = zip(swept["label"], values, strict=True)
        studies = [f"{label.removesuffix(label_of('', keys))}: {', '.join(keys)}" for label, keys in pairs]
        found = {}
        for study, runs in swept.groupby(np.array(studies, dtype=object), sort=False):
            of_study = [keys for keys, name in zip(values, studies, strict=True) if name == study]
            columns = pd.DataFrame(of_study, runs.index, dtype=object).add_prefix("sweep.")
            order = columns.apply(_places).sort_values(list(columns), kind="stable").index
            found[study] = pd.concat([runs, columns.map(plain)], axis=1).loc[order]
        return found

    def trials_of(self, dataset: str, label: str) -> pd.DataFrame:
        """The settings that were tried of a row of the table."""
        return self.trials[(self.trials["dataset"] == dataset) & (self.trials["label"] == label)]

    @cached_property
    def _users_by_run(self) -> dict[str, pd.DataFrame]:
        return {run: rows.set_index("user") for run, rows in self.per_user.groupby("run")}

    def values(self, runs: pd.DataFrame, metric: str) -> pd.DataFrame:
        """A metric of some runs by user: a row per user that all runs have a value of, a column per run."""
        columns = {run: self._users_by_run[run][metric].dropna() for run in runs["run"]}
        return pd.concat(columns, axis=1, join="inner").sort_index()

    def data(self, run: pd.Series, name: str) -> pd.DataFrame:
        """``items``, ``users``, ``train`` or ``test`` of the data that a run was trained on."""
        return read_data(self.folder, run["data"], name)

    def has_data(self, run: pd.Series, name: str) -> bool:
        """Whether the store has a table of :meth:`data`; older ones have no ``train``."""
        return has_file(data_file(self.folder, run["data"], name))

    def lists_of(self, run: str) -> pd.DataFrame:
        """Recommended items of a run by user."""
        return self.lists[self.lists["run"] == run].set_index("user")["items"]


def read_store(folder: Path) -> StoreTables:
    """The tables of a store.

    Raises:
        FileNotFoundError: it has none yet, or lacks one.
        ValueError: it is none of this version, or a table is damaged, or lacks users of a run.
    """
    if not has_file(folder / "runs.parquet"):
        raise FileNotFoundError(f"{folder} holds no results of an experiment; run one with --out {folder}")
    Store(folder)
    runs = _read_runs(folder / "runs.parquet")
    tables = {
        name: read_parquet(folder / f"{name}.parquet", form)
        for name, form in (("per_user", PER_USER), ("lists", LISTS), ("curves", CURVES), ("trials", TRIALS))
    }
    ended = runs[runs["error"] == ""]
    for name in ("per_user", "lists"):
        absent = sorted(set(ended["run"]) - set(tables[name]["run"]))
        if absent:
            raise ValueError(f"{folder / name}.parquet has no users of run {absent[0]}; {_AGAIN}")
        unknown = sorted(set(tables[name]["run"]) - set(ended["run"]))
        if unknown:
            raise ValueError(f"{folder / 'runs.parquet'} has no run {unknown[0]}, which {name}.parquet has; {_AGAIN}")
    for name in tables["per_user"]:
        if name not in PER_USER.columns and f"test_{name}" not in runs:
            raise ValueError(f"{folder / 'runs.parquet'} has no column 'test_{name}' for per_user.parquet; {_AGAIN}")
    by_run = dict(iter(ended.rename(columns=lambda name: name.removeprefix("test_")).groupby("run")))
    for run, users in tables["per_user"].groupby("run"):
        place = f"{folder / 'per_user.parquet'}, beside runs.parquet: run {run}"
        check_measured(place, by_run[run].iloc[0], users, _AGAIN)
    check_data_tables(folder, ended["data"])
    file = folder / "leaks.parquet"  # which stores of before the sentinel was in them lack
    empty = pd.DataFrame(columns=list(LEAKS.columns))
    leaks = read_parquet(file, LEAKS) if has_file(file) else empty
    return StoreTables(folder, ended, runs[runs["error"] != ""], **tables, leaks=leaks)


def _read_runs(file: Path) -> pd.DataFrame:
    """``runs.parquet``, each row checked as a record."""
    runs = read_parquet(file, TableForm({"run": "text"}))
    if "audit" not in runs:  # written before there were any
        runs["audit"] = "{}"
    for name in (field.name for field in fields(Record) if field.name not in NESTED):
        if name not in runs:
            raise ValueError(f"{file} has no column '{name}'; {_AGAIN}")
    for row in runs.to_dict("records"):
        try:
            checked(unflat(row), RECORD)
        except ValueError as error:
            raise ValueError(f"{file}: run {row['run']} is damaged ({one_line(error)}); {_AGAIN}") from error
    return runs


def mean_and_spread(values: pd.Series | np.ndarray) -> tuple[float, float]:
    """Mean over the seeds and their standard deviation; NaN for one seed."""
    values = np.asarray(values, dtype=float)
    return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else float("nan")


def _places(values: pd.Series) -> pd.Series:
    """What the values of a study's key are sorted by."""
    are_numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)
    return values.astype(float) if are_numbers else pd.Series(pd.factorize(values.map(plain))[0], values.index)
