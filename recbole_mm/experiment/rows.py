"""The rows of an experiment: each a model with settings on one data set, checked as a run's own are."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from recbole.config import Config

from recbole_mm.configuration import check_keys, checked_config
from recbole_mm.data_folders import find_data, settings_file
from recbole_mm.experiment.plan import Entry, Plan
from recbole_mm.host.saved_data import PICKLE_KEYS
from recbole_mm.io.names import closest
from recbole_mm.io.yaml_files import read_settings_file
from recbole_mm.registration import check_model
from recbole_mm.setting_checks import check_value
from recbole_mm.setting_rules import OF_THE_COMMAND, TRUST_KEYS

_OWN_KEYS = ("label", "model")
_RESERVED = ("seed", "metrics", "topk", "dataset", "checkpoint_dir", "resume_from")
_NOT_OF_PLANS = {  # what a file cannot ask for: most of it would run code of somebody else's
    "plugins": "give the command --plugins MODULE",
    **dict.fromkeys(TRUST_KEYS, "that is yours to give, and an experiment opens no pickle; leave it out"),
    **dict.fromkeys(PICKLE_KEYS, "an experiment opens no pickle; leave it out"),
    **dict.fromkeys(OF_THE_COMMAND, "an experiment has its own processes and files (--jobs); leave it out"),
}


@dataclass(frozen=True)
class Row:
    """One line of the table on one data set: what is trained with every seed.

    Attributes:
        dataset: its name.
        label: what the row is called.
        model: its name.
        settings: of every run but for its seed: enough to make its Config anywhere.
        own: of the settings, those that make this row differ from another of its data set.
        grid: keys that a search varies, each with the values it may have.
        sweep: the values of the keys that a study varies; empty for a row of the table.
        audit: of a row with a modality replaced, the ``row`` it belongs to, the ``modality`` and the ``kind``.
        place: in the plan, for messages.
    """

    dataset: str
    label: str
    model: str
    settings: dict[str, Any]
    own: dict[str, Any]
    grid: dict[str, list[Any]] = field(default_factory=dict)
    sweep: dict[str, Any] = field(default_factory=dict)
    audit: dict[str, str] = field(default_factory=dict)
    place: str = ""

    def config(self) -> Config:
        """RecBole's Config of the row; raises ValueError for a setting that cannot be."""
        return checked_config(self.model, self.dataset, None, self.settings)

    def chosen(self, values: dict[str, Any]) -> Row:
        """The row with the values that a search has chosen."""
        return replace(self, settings={**self.settings, **values}, own={**self.own, **values}, grid={})

    @property
    def identity(self) -> str:
        """Hash of everything the row's results depend on, but for seed and data."""
        return digest({"dataset": self.dataset, "model": self.model, "settings": without_paths(self.settings)})


def digest(value: Any) -> str:
    """A name of 16 letters for a value of JSON's types."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


def without_paths(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings but those that say where files lie and how a run is shown, which change no result."""
    left_out = ("data_path", "checkpoint_dir", "graph_dir", "log_dir", "tensorboard_dir", "show_progress", "state")
    return {key: value for key, value in settings.items() if key not in left_out}


def rows_of(plan: Plan, file: str | Path, plugins: Sequence[str] = ()) -> list[Row]:
    """All rows of a plan, those of its sweeps behind those of its table, on each of its data sets.

    Args:
        plan: that `file` has.
        file: for messages.
        plugins: modules that the user, not the plan, has every run import.

    Raises:
        ValueError: an unknown model, key or data set, a value out of its range, or two rows that are the same; one
            line with the place in the plan.
    """
    rows: list[Row] = []
    for entry in plan.data:
        common = _common_settings(plan, entry, f"{file}: data: {entry.name}")
        common |= {"plugins": list(plugins)} if plugins else {}
        for position, model in enumerate(plan.models):
            rows.append(_row(plan, entry.name, common, model, f"{file}: models: entry {position + 1} ({model.name})"))
        rows += _sweep_rows(plan, entry.name, common, file)
    _check_different(rows)
    _check_compared(plan, rows, file)
    for row in rows:
        check_row(row)
    return rows


def _common_settings(plan: Plan, entry: Entry, place: str) -> dict[str, Any]:
    for where, settings in (("settings", plan.settings), (entry.name, entry.settings)):
        for key in _RESERVED:
            if key in settings:
                raise ValueError(f"{place.partition(': data')[0]}: {where}: {key} is none of these; {_instead(key)}")
        _check_plannable(settings, f"{place.partition(': data')[0]}: {where}")
    settings = {**plan.settings, **entry.settings}
    if "data_path" not in settings:
        try:
            settings["data_path"] = find_data(entry.name)
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from error
    settings["data_path"] = str(Path(settings["data_path"]).absolute())  # runs have a folder of their own
    if not (Path(settings["data_path"]) / entry.name).is_dir():
        raise ValueError(f"{place}: there is no folder {Path(settings['data_path']) / entry.name}")
    own_file = settings_file(entry.name, settings["data_path"])
    measured: dict[str, Any] = {"metrics": plan.metrics, "topk": plan.topk}
    if plan.search is not None and plan.search.metric is not None:
        measured["valid_metric"] = plan.search.metric
    elif "valid_metric" not in settings:
        measured["valid_metric"] = f"{plan.metrics[0]}@{max(plan.topk)}"
    from_file = {} if own_file is None else _settings_beside_data(own_file)
    return {**from_file, **measured, **settings}


def _settings_beside_data(file: Path) -> dict[str, Any]:
    """What a data set's own file says; raises ValueError where it trusts files, or names some that are opened."""
    settings = read_settings_file(file)
    _check_plannable(settings, str(file))
    return settings


def _check_plannable(settings: Iterable[str], place: str) -> None:
    for key in settings:
        if key in _NOT_OF_PLANS:
            raise ValueError(f"{place}: {key} is nothing that a file can set; {_NOT_OF_PLANS[key]}")


def _instead(key: str) -> str:
    return f"the plan's own key {key} says it" if key not in ("checkpoint_dir", "resume_from", "dataset") else (
        "the experiment keeps its own files" if key != "dataset" else "data sets stand under data"
    )  # fmt: skip


def _row(plan: Plan, dataset: str, common: dict[str, Any], entry: Entry, place: str) -> Row:
    given = {key: value for key, value in entry.settings.items() if key not in _OWN_KEYS}
    name = entry.settings.get("model", entry.name)
    try:
        check_model(name)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from error
    for key in _RESERVED:
        if key in given:
            raise ValueError(f"{place}: {key} is no setting of a row; {_instead(key)}")
    _check_plannable(given, place)
    is_grid = {key: plan.search is not None and _is_grid(name, dataset, common, key, given[key]) for key in given}
    fixed = {key: value for key, value in given.items() if not is_grid[key]}
    grid = {key: list(value) for key, value in given.items() if is_grid[key]}
    label = entry.settings.get("label", entry.name if "model" in entry.settings else _label(name, fixed))
    return Row(dataset, str(label), name, {**common, **fixed}, fixed, grid, place=place)


def _is_grid(model: str, dataset: str, common: dict[str, Any], key: str, value: Any) -> bool:
    """Whether a list is one of values to search, and not itself the value of a key that takes a list."""
    if not isinstance(value, list):
        return False
    config = checked_config(model, dataset, None, common)
    try:
        check_value(config, key, value, "")
    except ValueError:
        return True
    return not isinstance(config[key], (list, tuple)) and not (config[key] is None and key == "modalities")


def _label(model: str, settings: dict[str, Any]) -> str:
    if not settings:
        return model
    return f"{model} ({', '.join(f'{key}={_plain(value)}' for key, value in settings.items())})"


def _plain(value: Any) -> str:
    return "+".join(map(str, value)) if isinstance(value, list) else str(value)


def _sweep_rows(plan: Plan, dataset: str, common: dict[str, Any], file: str | Path) -> Iterator[Row]:
    for model, grid in plan.sweep.items():
        place = f"{file}: sweep: {model}"
        try:
            check_model(model)
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from error
        _check_plannable(grid, place)
        for values in itertools.product(*grid.values()):
            swept = dict(zip(grid, values, strict=True))
            yield Row(dataset, _label(model, swept), model, {**common, **swept}, swept, sweep=swept, place=place)


def _check_different(rows: list[Row]) -> None:
    labels: dict[tuple[str, str], Row] = {}
    same: dict[tuple[str, ...], Row] = {}
    for row in (row for row in rows if not row.sweep):
        key = (row.dataset, row.model, digest(row.own), digest(row.grid))
        if key in same:
            raise ValueError(f"{row.place}: the same row as {same[key].place.rpartition('models: ')[2]}; keep one")
        if (row.dataset, row.label) in labels:
            raise ValueError(f"{row.place}: another row is called '{row.label}'; give one of them a label")
        same[key] = labels[row.dataset, row.label] = row


def _check_compared(plan: Plan, rows: list[Row], file: str | Path) -> None:
    labels = {row.label for row in rows if not row.sweep}
    for label in plan.compare_with:
        if label not in labels:
            raise ValueError(
                f"{file}: compare_with: there is no row '{label}'{closest(label, labels)}; rows: {', '.join(labels)}"
            )


def check_row(row: Row) -> None:
    """Raise ValueError for what the row's runs would end with: a key or value that its model or data do not take."""
    try:
        config = row.config()
        if set(config["eval_args"]["mode"].values()) != {"full"}:
            raise ValueError("eval_args: an experiment keeps each user's list of all items; give mode: full")
        check_keys(config, row.grid)
        for key, values in row.grid.items():
            for value in values:
                check_value(config, key, value, row.place)
    except (ValueError, OSError) as error:
        message = str(error)
        raise ValueError(message if message.startswith(row.place) else f"{row.place}: {message}") from error
