"""Where an experiment keeps what it found: one file per run while it goes, Parquet tables for everybody.

Tables, each with a row of its own for:

=====================  ================================================================================================
``runs.parquet``       a run: what it was (:class:`Record`), its validation and test metrics, what it cost
``per_user.parquet``   a test user of a run: ``run``, ``user`` and a column for each metric
``lists.parquet``      a test user of a run: ``run``, ``user`` and ``items``, the recommended ones, best first
``curves.parquet``     an epoch of a run and a value: ``run``, ``stage``, ``epoch``, ``name``, ``value``
``trials.parquet``     a setting tried: ``dataset``, ``label``, ``settings``, ``metric``, ``value``, ``status``
=====================  ================================================================================================

Beside them ``data/HASH/`` has for every data set and split ``items.parquet`` (``item``, ``training_rows``, for each
modality whether its row is imputed, and ``title`` where there is an ``.item`` file with titles), ``users.parquet``
(``user``, ``training_rows``), and ``train.parquet`` and ``test.parquet`` (``user``, ``item``).
"""

from __future__ import annotations

import json
from collections.abc import Container
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_mm.experiment.store_files import changed_files, read_json
from recbole_mm.io.files import atomic_file

if TYPE_CHECKING:
    import pandas as pd

VERSION = 1
TABLES = ("runs", "per_user", "lists", "curves", "trials")
_DESCRIPTION = "store.json"


@dataclass(frozen=True)
class Record:
    """One run: a row of ``runs.parquet``.

    Attributes:
        run: its name, a hash of data set, model, settings and seed.
        row: hash of the row it belongs to: the same but for the seed.
        settings: all that were set, as JSON; `own` those that make the row differ, `sweep` those that a study varies.
        budget: settings that were tried before these were chosen; 0 where they were given.
        chosen_by: the validation metric that chose settings and epoch.
        ended: ``stopped`` early, at its ``cap`` of epochs, or by an ``error``.
        best_epoch: of the last stage, counted from 1; `epochs` of all stages together.
        seconds_per_epoch: the median, evaluation left out.
        peak_memory: of the run in MB, the process's own part included.
        valid, test: metrics at the best epoch.
        beyond: what lists are like beyond their accuracy.
        features: hash of each modality that the model reads.
    """

    run: str
    row: str
    dataset: str
    label: str
    model: str
    seed: int
    settings: str
    own: str = "{}"
    sweep: str = "{}"
    budget: int = 0
    chosen_by: str = ""
    ended: str = ""
    error: str = ""
    best_epoch: int = 0
    epochs: int = 0
    seconds_per_epoch: float = float("nan")
    seconds: float = float("nan")
    peak_memory: float = float("nan")
    parameters: int = 0
    valid: dict[str, float] = field(default_factory=dict)
    test: dict[str, float] = field(default_factory=dict)
    beyond: dict[str, float] = field(default_factory=dict)
    data: str = ""
    features: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    hardware: str = ""
    commit: str = ""
    audit: str = "{}"

    def flat(self) -> dict[str, Any]:
        """The columns of ``runs.parquet``: ``valid_ndcg@20`` and the like for each metric, JSON for other mappings."""
        columns: dict[str, Any] = {}
        for name, value in asdict(self).items():
            if name in ("valid", "test", "beyond"):
                columns |= {f"{name}_{metric}": number for metric, number in value.items()}
            else:
                columns[name] = json.dumps(value) if isinstance(value, dict) else value
        return columns


@dataclass(frozen=True)
class RunResult:
    """What a run brings home.

    Attributes:
        record: its row.
        per_user: of ``per_user.parquet`` and ``lists.parquet`` together; None of a run that failed.
        curves: of ``curves.parquet``.
        data: of ``data/HASH/``, by the name of the file.
    """

    record: Record
    per_user: pd.DataFrame | None = None
    curves: list[dict[str, Any]] = field(default_factory=list)
    data: dict[str, pd.DataFrame] = field(default_factory=dict)


class Store:
    """The results in one folder.

    Raises:
        ValueError: the folder holds something else, or a store of another version.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        description = folder / _DESCRIPTION
        if description.is_file():
            found = read_json(description, dict).get("version")
            if found != VERSION:
                raise ValueError(
                    f"{folder} holds a store of version {found}, this is for {VERSION}; give another --out, or read it "
                    f"with the recbole_mm that wrote it"
                )
            return
        if folder.is_dir() and any(folder.iterdir()):
            raise ValueError(f"{folder} is not empty and holds no experiment; give another --out")
        (folder / "runs").mkdir(parents=True, exist_ok=True)
        with atomic_file(description) as temporary:
            temporary.write_text(json.dumps({"version": VERSION}), encoding="utf-8")

    def check_data(self, dataset: str, folder: Path, modalities: Container[str] | None = None) -> None:
        """Raise ValueError where a data set's files are not those of earlier runs; of the first, keep their digests.

        Args:
            dataset: its name.
            folder: of its files.
            modalities: that the runs read; all of them if not given.
        """
        file = self.folder / "data_files.json"
        kept = read_json(file, dict) if file.is_file() else {}
        changed = changed_files(folder, dataset, kept, modalities)
        if changed:
            raise ValueError(
                f"{folder}: {', '.join(changed)} changed since the runs in {self.folder}; bring the data back, or give "
                "another --out"
            )
        with atomic_file(file) as temporary:
            temporary.write_text(json.dumps(kept, indent=2), encoding="utf-8")

    def has(self, run: str) -> bool:
        """Whether a run has ended well."""
        file = self._run_file(run)
        return file.is_file() and not _read_run(file)["record"]["error"]

    def add(self, result: RunResult) -> None:
        """Keep the result of a run; the record comes last, so that what has one is whole."""
        run = result.record.run
        for name, table in result.data.items():
            file = self.folder / "data" / result.record.data / f"{name}.parquet"
            if not file.is_file():
                file.parent.mkdir(parents=True, exist_ok=True)
                _write(table, file)
        if result.per_user is not None:
            _write(result.per_user, self._users_file(run))
        with atomic_file(self._run_file(run)) as temporary:
            content = {"record": asdict(result.record), "curves": result.curves}
            temporary.write_text(json.dumps(content), encoding="utf-8")

    def add_trials(self, search: str, trials: list[dict[str, Any]]) -> None:
        """Keep what a search for a row has tried, by the search's identity; the chosen one has ``chosen: True``."""
        file = self._trials_file(search)
        file.parent.mkdir(exist_ok=True)
        with atomic_file(file) as temporary:
            temporary.write_text(json.dumps(trials), encoding="utf-8")

    def trials(self, search: str) -> list[dict[str, Any]]:
        """What a search for a row has tried; empty before it has ended."""
        file = self._trials_file(search)
        return read_json(file, list) if file.is_file() else []

    def records(self) -> list[Record]:
        """Every run there is, those that failed included."""
        known = {one.name for one in fields(Record)}
        found = (_read_run(file)["record"] for file in sorted((self.folder / "runs").glob("*.json")))
        return [Record(**{name: value for name, value in record.items() if name in known}) for record in found]

    def write_tables(self, runs: Container[str] | None = None, searches: Container[str] | None = None) -> None:
        """Bring the Parquet tables up to date with the runs and searches there are, or with some of them by name.

        Those of settings that a plan had before are kept and stay out of its tables.
        """
        import pandas as pd

        files = [file for file in sorted((self.folder / "runs").glob("*.json")) if runs is None or file.stem in runs]
        contents = [_read_run(file) for file in files]
        records = [record for record in self.records() if runs is None or record.run in runs]
        _write(pd.DataFrame([record.flat() for record in records]), self.folder / "runs.parquet")
        curves = [{"run": one["record"]["run"], **value} for one in contents for value in one["curves"]]
        _write(pd.DataFrame(curves), self.folder / "curves.parquet")
        users = [self._users_of(file.stem) for file in files if self._users_file(file.stem).is_file()]
        users = pd.concat(users, ignore_index=True) if users else pd.DataFrame(columns=["run", "user", "items"])
        _write(users.drop(columns="items"), self.folder / "per_user.parquet")
        _write(users[["run", "user", "items"]], self.folder / "lists.parquet")
        found = sorted(self.folder.glob("trials/*.json"))
        searched = [file for file in found if searches is None or file.stem in searches]
        trials = [trial for file in searched for trial in read_json(file, list)]
        _write(pd.DataFrame(trials), self.folder / "trials.parquet")

    def _users_of(self, run: str) -> pd.DataFrame:
        import pandas as pd

        table = pd.read_parquet(self._users_file(run))
        table.insert(0, "run", run)
        return table

    def _run_file(self, run: str) -> Path:
        return self.folder / "runs" / f"{run}.json"

    def _users_file(self, run: str) -> Path:
        return self.folder / "runs" / f"{run}.users.parquet"

    def _trials_file(self, search: str) -> Path:
        return self.folder / "trials" / f"{search}.json"


def join(stores: list[Path], folder: Path) -> Store:
    """One store of several, such as two machines have filled; of a run that stands in two, the first is taken.

    Raises ValueError where one of them is no store of this version.
    """
    joined = Store(folder)
    for source in stores:
        if not (source / _DESCRIPTION).is_file():
            raise ValueError(f"{source} holds no experiment: it has no {_DESCRIPTION}")
        Store(source)
        for file in sorted(source.rglob("*")):
            kind = file.relative_to(source).parts[0]
            target = folder / file.relative_to(source)
            if kind in ("runs", "data", "trials") and file.is_file() and not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                with atomic_file(target) as temporary:
                    temporary.write_bytes(file.read_bytes())
    joined.write_tables()
    return joined


def _read_run(file: Path) -> dict[str, Any]:
    content = read_json(file, dict)
    if not isinstance(content.get("record"), dict) or not {"run", "error"} <= content["record"].keys():
        raise ValueError(f"{file} is no run of an experiment; restore it, or delete it to run it again")
    return content


def _write(table: pd.DataFrame, file: Path) -> None:
    with atomic_file(file) as temporary:
        table.to_parquet(temporary, index=False)
