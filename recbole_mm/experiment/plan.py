"""Plans of experiments: YAML files of a few lines, checked before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from recbole_mm.experiment.plan_messages import first_error, unknown_key
from recbole_mm.experiment.plan_terms import AUDITS, FIRST_SEED, MOST_SEEDS
from recbole_mm.io.names import closest
from recbole_mm.io.yaml_files import read_settings_file
from recbole_mm.settings import Count, Counts, Names, Whole


def _known_audit(kind: str) -> str:
    if kind not in AUDITS:
        raise ValueError(f"there is no {kind!r}{closest(kind, AUDITS)}")
    return kind


Audit = Annotated[str, AfterValidator(_known_audit)]
Seed = Annotated[Whole, Field(ge=0, lt=2**32)]
Study = dict[str, list[Any]]
"""One key or two, with the values that a study of them tries."""


def _as_seeds(value: Any) -> Any:
    """A number of seeds, or the seeds themselves."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MOST_SEEDS:
        return list(range(FIRST_SEED, FIRST_SEED + value))
    return value


def _as_pairs(value: Any) -> Any:
    """Names, each with settings of its own or none: ``[a, {b: {key: value}}]``."""
    entries = value if isinstance(value, list) else [value]
    return [{"name": name, "settings": settings} for name, settings in map(_named, entries)]


def _named(entry: Any) -> tuple[Any, Any]:
    if isinstance(entry, dict) and len(entry) == 1:
        ((name, settings),) = entry.items()
        return name, {} if settings is None else settings
    return entry, {}


def _as_studies(value: Any) -> Any:
    """A study of each row, or several."""
    if not isinstance(value, dict):
        return value
    return {row: [studies] if isinstance(studies, dict) else studies for row, studies in value.items()}


def _none_as_absent(value: Any) -> Any:
    return None if value == "none" else value


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SearchPlan(_Part):
    """How every model's settings are chosen, with the same budget and on validation data alone."""

    budget: Count = 12
    """Settings that are tried of each model."""
    method: Literal["asha", "random"] = "asha"
    """Whether weak settings are stopped early (asha) or every one is trained to its end (random)."""
    metric: str | None = None
    """Validation metric that chooses, such as NDCG@20; that of the runs if not set."""
    grid: dict[str, list[Any]] = {}
    """Keys, such as learning_rate, that are searched of every model that is trained, with their values; a row's or its
    model's own grid of the same key stays."""


class Entry(_Part):
    """A data set or a model by its name, with settings of its own."""

    name: str
    settings: dict[str, Any] = {}

    @model_validator(mode="after")
    def _has_settings(self) -> Self:
        if not all(isinstance(key, str) for key in self.settings):
            raise ValueError("settings are written as key: value")
        return self


class Plan(_Part):
    """One experiment: which models, on which data, how often, and how their settings are chosen."""

    data: Annotated[list[Entry], BeforeValidator(_as_pairs), Field(min_length=1)]
    """Data sets, by name; settings of one, such as data_path, below its name."""
    models: Annotated[list[Entry], BeforeValidator(_as_pairs), Field(min_length=1)]
    """Rows of the table: models by name, each with its settings. With a search, a list of values is searched; `label`
    names a row, `model` says whose row it is where the name is a label."""
    seeds: Annotated[list[Seed], BeforeValidator(_as_seeds), Field(min_length=1, max_length=MOST_SEEDS)] = [FIRST_SEED]
    """Seeds, or how many of them."""
    search: Annotated[SearchPlan | None, BeforeValidator(_none_as_absent)] = None
    """How settings are chosen; none: as they are given."""
    sweep: Annotated[dict[str, Annotated[list[Study], Field(min_length=1)]], BeforeValidator(_as_studies)] = {}
    """Studies of parameters: rows of the table, each with one key or two and all their values, or several such studies.
    Other settings are the row's, those that a search has chosen for it included; a model that has no row has its
    defaults."""
    settings: dict[str, Any] = {}
    """Settings of all runs."""
    audit: list[Audit] = []
    """Trains every row again with each modality, and all of them, replaced (shuffle, constant, noise, near_one, zero,
    mean) or left out (without); evaluation replaces them in the trained rows too, at their evaluation alone; id_only
    adds the models of IDs alone that the rows stand on, where the plan has none; leak asks once for each data set
    whether its features know held-out interactions."""
    metrics: Annotated[Names, Field(min_length=1)] = ["Recall", "NDCG"]
    """What is measured."""
    topk: Counts = [10, 20]
    """Lengths of the lists that are measured."""
    compare_with: Names = []
    """Rows that all others are compared with; the best one of each data set if not set."""

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        _check_once("seeds", self.seeds)
        _check_once("data", [entry.name for entry in self.data])
        _check_once("audit", self.audit)
        _check_once("metrics", [name.lower() for name in self.metrics])
        _check_once("topk", self.topk)
        if self.search is not None:
            check_values("search: grid", self.search.grid)
            self._check_metric(self.search.metric)
        for row, studies in self.sweep.items():
            _check_studies(f"sweep: {row}", studies)
        return self

    def _check_metric(self, metric: str | None) -> None:
        """Raise ValueError for a metric that chooses and is not measured."""
        measured = [f"{name}@{k}" for name in self.metrics for k in self.topk]
        if metric is not None and metric.lower() not in map(str.lower, measured):
            raise ValueError(f"search: metric: {metric!r} is not measured; give one of {', '.join(measured)}")


def _check_studies(place: str, studies: list[Study]) -> None:
    for study in studies:
        if not 1 <= len(study) <= 2:
            raise ValueError(f"{place} has {len(study)} keys; give one, which is drawn as a line, or two")
        check_values(place, study)
    _check_once(place, [" and ".join(sorted(study)) for study in studies])


def check_values(place: str, grid: dict[str, list[Any]]) -> None:
    """Raise ValueError for a key without values, or with one twice."""
    for key, values in grid.items():
        if not values:
            raise ValueError(f"{place}: {key} has no values")
        _check_once(f"{place}: {key}", values)


def _check_once(place: str, values: list[Any]) -> None:
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"{place}: {value} stands there twice; keep one")


def read_plan(file: str | Path) -> Plan:
    """The plan of a YAML file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no plan; one line with the place in the file.
    """
    content = read_settings_file(file)
    for key in content:
        if key not in Plan.model_fields:
            raise ValueError(f"{file}: {unknown_key(key)}")
    try:
        return Plan(**content)
    except ValidationError as error:
        raise ValueError(f"{file}: {first_error(error)}") from error
