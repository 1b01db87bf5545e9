"""Where an experiment keeps what it found: one file per run while it goes, Parquet tables for everybody.

Tables, each with a row of its own for:

=====================  ================================================================================================
``runs.parquet``       a run (:class:`~recbole_mm.experiment.record.Record`), its metrics, what it cost
``per_user.parquet``   a test user of a run: ``run``, ``user``, a column for each metric, and with cold items for each
                       candidate set's, NaN where the user has no such item held out
``lists.parquet``      a test user of a run: ``run``, ``user`` and ``items``, the recommended ones, best first
``curves.parquet``     an epoch of a run and a value: ``run``, ``stage``, ``epoch``, ``name``, ``value``
``trials.parquet``     a setting tried: ``dataset``, ``label``, ``settings``, ``metric``, ``value``, ``status``
``leaks.parquet``      a data set's modality (:class:`~recbole_mm.experiment.record.LeakRecord`): the leak sentinel
=====================  ================================================================================================

Beside them ``data/HASH/`` has for every data set and split ``items.parquet`` (``item``, ``training_rows``, for each
modality whether its row is imputed, and ``title`` where there is an ``.item`` file with titles), ``users.parquet``
(``user``, ``training_rows``), and ``train.parquet`` and ``test.parquet`` (``user``, ``item``).
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from recbole_mm.experiment.record import STORED_RUN, LeakRecord, Record, RunResult, StoredRun, Tried
from recbole_mm.experiment.store_data import check_data_tables, keep_data
from recbole_mm.experiment.store_digests import changed_files, join_digests, read_digests
from recbole_mm.experiment.store_files import (
    SEARCH_AGAIN,
    check_measured,
    read_as,
    read_json,
    read_leak,
    read_parquet,
    read_trials,
    write_json,
    write_table,
)
from recbole_mm.experiment.store_join import check_rows, copy_parts, runs_of_tables, searches_of_tables
from recbole_mm.experiment.table_forms import USERS_OF_A_RUN
from recbole_mm.io.reading import files_in, has_file

if TYPE_CHECKING:
    import pandas as pd

    from recbole_mm.experiment.search import RowSearch

VERSION = 1
_DESCRIPTION = "store.json"
_DATA_FILES = "data_files.json"


class Store:
    """The results in one folder.

    Raises:
        ValueError: the folder holds something else, or a store of another version.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        description = folder / _DESCRIPTION
        if has_file(description):
            found = read_json(description, dict).get("version")
            if type(found) is not int or found != VERSION:
                raise ValueError(
                    f"{folder} holds a store of version {found!r} ({_DESCRIPTION}), this is for {VERSION}; give "
                    f"another --out, or read it with the recbole_mm that wrote it"
                )
            return
        if folder.is_dir() and any(folder.iterdir()):
            raise ValueError(
                f"{folder} is not empty and has no {_DESCRIPTION}, so it holds no experiment; give another --out"
            )
        (folder / "runs").mkdir(parents=True, exist_ok=True)
        write_json(description, {"version": VERSION})

    def check_data(
        self,
        dataset: str,
        folder: Path,
        modalities: Iterable[str] | None = None,
        contents: Mapping[str, str] | None = None,
    ) -> None:
        """Raise ValueError where a data set's files are not those of earlier runs; of the first, keep their digests.

        Args:
            dataset, folder: its name, and where its files are.
            modalities: that the runs read; all of them if not given.
            contents: digests of what they read beside these files, such as pictures, by what it is.
        """
        file = self.folder / _DATA_FILES
        kept = read_digests(file)
        if dataset not in kept and any(record.dataset == dataset and not record.error for record in self.records()):
            raise ValueError(
                f"{file} has no digests of {dataset}, and {self.folder} has runs of it; restore the file, or give "
                "another --out"
            )
        changed = changed_files(folder, dataset, kept, modalities, contents)
        if changed:
            raise ValueError(
                f"{folder}: {', '.join(changed)} changed since the runs in {self.folder}; bring the data back, or give "
                "another --out"
            )
        write_json(file, kept, indent=2)

    def has(self, run: str) -> bool:
        """Whether a run has ended well."""
        file = self._run_file(run)
        return has_file(file) and not self._read_run(file).record.error

    def add(self, result: RunResult) -> None:
        """Keep the result of a run; the record comes last, so that what has one is whole."""
        run = result.record.run
        for name, table in result.data.items():
            keep_data(self.folder, result.record.data, name, table)
        for audit in result.audits:
            self.add(audit)
        if result.per_user is not None:
            write_table(result.per_user, self._users_file(run))
        write_json(self._run_file(run), asdict(StoredRun(result.record, result.curves)))

    def add_trials(self, search: str, trials: list[Tried]) -> None:
        """Keep what a search for a row has tried, by the search's identity."""
        file = self._trials_file(search)
        file.parent.mkdir(exist_ok=True)
        write_json(file, [asdict(trial) for trial in trials])

    def trials(self, search: RowSearch) -> list[Tried]:
        """What a search for a row has tried; empty before it has ended. Raises ValueError for trials of another."""
        file = self._trials_file(search.identity)
        found = read_trials(file) if has_file(file) else []
        wrong = search.difference(found) if found else ""
        if wrong:
            raise ValueError(f"{file} is damaged ({wrong}); {SEARCH_AGAIN}")
        return found

    def add_leak(self, leak: LeakRecord) -> None:
        """Keep what the leak sentinel says of a modality."""
        file = self.folder / "leaks" / f"{leak.check}.json"
        file.parent.mkdir(exist_ok=True)
        write_json(file, asdict(leak))

    def leaks(self) -> list[LeakRecord]:
        """What the leak sentinel said, of checks that failed too; raises ValueError where a file is damaged."""
        return [read_leak(file) for file in files_in(self.folder / "leaks", "*.json")]

    def records(self) -> list[Record]:
        """Every run there is, those that failed included."""
        return [self._read_run(file).record for file in files_in(self.folder / "runs", "*.json")]

    def check(self) -> None:
        """Raise ValueError for a file of a run or search that is damaged or missing."""
        ended = [record for record in self.records() if not record.error]
        for record in ended:
            remedy = f"restore both files of the run, or delete {self._run_file(record.run)} to run it again"
            check_measured(self._run_file(record.run), record.test, self._users_of(record.run), remedy)
        check_data_tables(self.folder, [record.data for record in ended])
        for file in files_in(self.folder / "trials", "*.json"):
            read_trials(file)
        self.leaks()

    def write_tables(
        self,
        runs: Sequence[str] | None = None,
        searches: Container[str] | None = None,
        checks: Container[str] | None = None,
    ) -> None:
        """Bring the Parquet tables up to date with the runs, searches and leak checks there are, or some by name.

        Those of settings that a plan had before are kept and stay out of its tables. Runs stand in the order in which
        they are named.
        """
        import pandas as pd

        there = {file.stem: file for file in files_in(self.folder / "runs", "*.json")}
        files = [there[run] for run in (there if runs is None else runs) if run in there]
        stored = [self._read_run(file) for file in files]
        write_table(pd.DataFrame([run.record.flat() for run in stored]), self.folder / "runs.parquet")
        curves = [{"run": run.record.run, **vars(point)} for run in stored for point in run.curves]
        write_table(pd.DataFrame(curves), self.folder / "curves.parquet")
        users = [self._users_of(run.record.run) for run in stored if not run.record.error]
        both = pd.concat(users, ignore_index=True) if users else pd.DataFrame(columns=["run", "user", "items"])
        write_table(both.drop(columns="items"), self.folder / "per_user.parquet")
        write_table(both[["run", "user", "items"]], self.folder / "lists.parquet")
        found = files_in(self.folder / "trials", "*.json")
        trials = [trial for file in found if searches is None or file.stem in searches for trial in read_trials(file)]
        rows = [{**vars(trial), "settings": json.dumps(trial.settings)} for trial in trials]
        write_table(pd.DataFrame(rows), self.folder / "trials.parquet")
        leaks = [asdict(leak) for leak in self.leaks() if checks is None or leak.check in checks]
        write_table(pd.DataFrame(leaks), self.folder / "leaks.parquet")

    def _users_of(self, run: str) -> pd.DataFrame:
        """Metrics and lists of a run that ended well; raises ValueError where there are none."""
        file = self._users_file(run)
        if not has_file(file):
            raise ValueError(f"{file} is missing; restore it, or delete {self._run_file(run)} to run it again")
        table = read_parquet(file, USERS_OF_A_RUN)
        table.insert(0, "run", run)
        return table

    def _read_run(self, file: Path) -> StoredRun:
        found = read_as(file, STORED_RUN, "delete it to run it again")
        if found.record.run != file.stem:
            raise ValueError(f"{file} is of run {found.record.run}; restore it, or delete it to run it again")
        return found

    def _run_file(self, run: str) -> Path:
        return self.folder / "runs" / f"{run}.json"

    def _users_file(self, run: str) -> Path:
        return self.folder / "runs" / f"{run}.users.parquet"

    def _trials_file(self, search: str) -> Path:
        return self.folder / "trials" / f"{search}.json"


def join(stores: list[Path], folder: Path) -> Store:
    """One store of several, such as two machines have filled; of a run that stands in two, the first is taken.

    Runs of settings that a plan had before are copied and stay out of the tables, as they are out of its store's.

    Raises ValueError, before anything is copied, where one of them is no store of this version, two have runs of other
    data of one name, or rows of one label and other settings.
    """
    for source in stores:
        if not (source / _DESCRIPTION).is_file():
            raise ValueError(f"{source} holds no experiment: it has no {_DESCRIPTION}")
    joined = Store(folder)
    parts = [joined, *map(Store, stores)]
    for part in parts:
        part.check()
    runs = dict.fromkeys(run for part in parts for run in runs_of_tables(part.folder))
    searches = {search for part in parts for search in searches_of_tables(part.folder)}
    check_rows(record for part in parts for record in part.records() if record.run in runs)
    join_digests([part.folder / _DATA_FILES for part in parts], folder / _DATA_FILES)
    for part in parts[1:]:
        copy_parts(part.folder, joined.folder)
    joined.write_tables(list(runs), searches)
    return joined
