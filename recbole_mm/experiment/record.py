"""What a run brings home, and what a store's JSON files hold of runs and searches."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, FiniteFloat, TypeAdapter

from recbole_mm.experiment.identity import possible_names
from recbole_mm.io.json_text import parse_json

if TYPE_CHECKING:
    import pandas as pd

NESTED = ("valid", "test", "beyond")  # whose entries are columns of their own in ``runs.parquet``
FINISHED: Final = "finished"  # what becomes of a setting
STOPPED: Final = "stopped early"
FAILED: Final = "failed"
Status = Literal["finished", "stopped early", "failed"]
Ending = Literal["stopped", "cap", "solved", "error", "unfinished", ""]  # unfinished: of a checkpoint alone
_MAPPINGS = ("features", "versions")  # which are JSON there


def _object(text: str) -> str:
    if not isinstance(parse_json(text), dict):
        raise ValueError("it is no JSON object")
    return text


def _measured(value: float) -> float:
    if value < 0 or math.isinf(value):
        raise ValueError("it is no amount")
    return value


FileName = Annotated[str, Field(pattern=r"^[\w-]+$")]
"""A name that files are called by, so that none leads elsewhere."""
JsonObject = Annotated[str, AfterValidator(_object)]
Count = Annotated[int, Field(ge=0, lt=2**63)]  # as tables have numbers
Amount = Annotated[float, AfterValidator(_measured)]
"""Of seconds or memory; NaN where it was not measured."""


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
        data: name of the folder of the data set's tables in the store.
        features: hash of each modality that the model reads.
        audit: of a row with a modality replaced, the ``row`` it belongs to, the ``modality`` and the ``kind``, as JSON.
    """

    run: FileName
    row: FileName
    dataset: str
    label: str
    model: str
    seed: Count
    settings: JsonObject
    own: JsonObject = "{}"
    sweep: JsonObject = "{}"
    budget: Count = 0
    chosen_by: str = ""
    ended: Ending = ""
    error: str = ""
    best_epoch: Count = 0
    epochs: Count = 0
    seconds_per_epoch: Amount = math.nan
    seconds: Amount = math.nan
    peak_memory: Amount = math.nan
    parameters: Count = 0
    valid: dict[str, float] = field(default_factory=dict)
    test: dict[str, FiniteFloat] = field(default_factory=dict)
    beyond: dict[str, float] = field(default_factory=dict)
    data: Annotated[str, Field(pattern=r"^[\w-]*$")] = ""
    features: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    hardware: str = ""
    commit: str = ""
    audit: JsonObject = "{}"

    def flat(self) -> dict[str, Any]:
        """The columns of ``runs.parquet``: ``valid_ndcg@20`` and the like for each metric, JSON for other mappings."""
        columns: dict[str, Any] = {}
        for name, value in asdict(self).items():
            if name in NESTED:
                columns |= {f"{name}_{metric}": number for metric, number in value.items()}
            else:
                columns[name] = json.dumps(value) if name in _MAPPINGS else value
        return columns


def _of_its_name(record: Record) -> Record:
    """Raise ValueError where a record is called otherwise than its settings say, or varies what they do not have."""
    settings, sweep, audit = (json.loads(text) for text in (record.settings, record.sweep, record.audit))
    names = possible_names(record.dataset, record.model, settings, sweep, audit, record.seed)
    if (record.row, record.run) not in names:
        raise ValueError("data set, model, settings and seed are not those that row and run are called by")
    for name in ("own", "sweep"):
        for key, value in json.loads(getattr(record, name)).items():
            if key in settings and settings[key] != value:  # those of paths are not
                raise ValueError(f"{name} has another {key} than settings")
    return record


NamedRecord = Annotated[Record, AfterValidator(_of_its_name)]
"""As a store has it: nothing that decides about a result can be changed alone."""


@dataclass(frozen=True)
class CurvePoint:
    """A value of an epoch: a row of ``curves.parquet`` without its run."""

    stage: str
    epoch: Count
    name: str
    value: float


@dataclass(frozen=True)
class StoredRun:
    """A file of ``runs/``."""

    record: NamedRecord
    curves: list[CurvePoint]


@dataclass(frozen=True)
class Tried:
    """A setting that a search has tried: a row of ``trials.parquet``, and an entry of a file of ``trials/``.

    Attributes:
        row: hash of the row that was searched for.
        trial: its number.
        metric: of validation data.
        value: best of it, NaN where there is none.
        evaluations: that were made.
        status: ``finished``, ``stopped early`` or ``failed``.
        chosen: whether it is the one.
    """

    dataset: str
    row: FileName
    label: str
    trial: Count
    settings: dict[str, Any]
    metric: str
    value: float
    evaluations: Count
    status: Status
    error: str
    chosen: bool


@dataclass(frozen=True)
class LeakRecord:
    """What the leak sentinel says of a data set's modality: a row of ``leaks.parquet``, and a file of ``leaks/``.

    Attributes:
        check: its name, a hash of data set, split and modality.
        seed: of the split.
        verdict: ``found``, ``not found``, ``cannot tell``; empty where there is an `error`.
        excess: T, of_all - of_training.
        of_all, of_training, reference, n_items: as of :class:`recbole_mm.experiment.leaks.Leak`.
    """

    check: FileName
    dataset: str
    modality: str
    seed: Count
    verdict: Literal["found", "not found", "cannot tell", ""] = ""
    excess: FiniteFloat = 0.0
    of_all: FiniteFloat = 0.0
    of_training: FiniteFloat = 0.0
    reference: FiniteFloat = 0.0
    n_items: Count = 0
    error: str = ""


RECORD = TypeAdapter(NamedRecord)
LEAK = TypeAdapter(LeakRecord)
STORED_RUN = TypeAdapter(StoredRun)
TRIED = TypeAdapter(list[Tried])
DATA_FILES = TypeAdapter(dict[str, dict[str, str]])


@dataclass(frozen=True)
class RunResult:
    """What a run brings home.

    Attributes:
        record: its row.
        per_user: of ``per_user.parquet`` and ``lists.parquet`` together; None of a run that failed.
        curves: of ``curves.parquet``.
        data: of ``data/HASH/``, by the name of the file.
        audits: the same weights with features replaced, as runs of their own.
    """

    record: Record
    per_user: pd.DataFrame | None = None
    curves: list[CurvePoint] = field(default_factory=list)
    data: dict[str, pd.DataFrame] = field(default_factory=dict)
    audits: list[RunResult] = field(default_factory=list)


def unflat(columns: dict[str, Any]) -> dict[str, Any]:
    """The fields of a record of a row of ``runs.parquet``, to be checked by :data:`RECORD`; the other way of `flat`.

    Raises ValueError where a mapping is no JSON.
    """
    found: dict[str, Any] = {name: {} for name in NESTED}
    for column, value in columns.items():
        kind, _, name = column.partition("_")
        if kind in NESTED and name:
            if value == value:  # NaN where the row's runs have no such metric
                found[kind][name] = value
        else:
            found[column] = parse_json(value) if column in _MAPPINGS and isinstance(value, str) else value
    return found
