"""From a plan to its rows: what each is called, which settings it has, and where in the plan they stand."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from recbole.config import Config

from recbole_mm.configuration import checked_config
from recbole_mm.data_folders import find_data, settings_file
from recbole_mm.experiment.identity import digest
from recbole_mm.experiment.plan import Entry, Plan, check_values
from recbole_mm.experiment.rows import Row, check_row, label_of
from recbole_mm.host.saved_data import PICKLE_KEYS
from recbole_mm.io.names import check_known, closest
from recbole_mm.io.yaml_files import read_settings_file
from recbole_mm.registration import check_model
from recbole_mm.run_settings import SearchSettings
from recbole_mm.setting_checks import check_value
from recbole_mm.setting_rules import OF_THE_COMMAND, TRUST_KEYS, own_settings
from recbole_mm.settings_text import shown

_OWN_KEYS = ("label", "model")
_STANDS_ELSEWHERE = {
    **{key: f"it stands at the plan's own level, beside settings ({key}: ...)" for key in Plan.model_fields},
    "seed": "the plan's own key seeds says it",
    "dataset": "data sets stand under data",
    "model": "models stand under models",
    "label": "it is a row's, under models",
    **dict.fromkeys(("checkpoint_dir", "resume_from"), "the experiment keeps its own files"),
}
_SAME_FOR_ALL_ROWS = {
    **dict.fromkeys(("data_path", "benchmark_filename"), "it is a data set's, under data"),
    **dict.fromkeys(SearchSettings.model_fields, "it is the same for all rows, under settings"),
}
_NOT_OF_PLANS = {  # what a file cannot ask for: most of it would run code of somebody else's
    "plugins": "give the command --plugins MODULE",
    **dict.fromkeys(TRUST_KEYS, "that is yours to give, and an experiment opens no pickle; leave it out"),
    **dict.fromkeys(PICKLE_KEYS, "an experiment opens no pickle; leave it out"),
    **dict.fromkeys(OF_THE_COMMAND, "an experiment has its own processes and files (--jobs); leave it out"),
}


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
    if plan.search is not None:
        _check_row_keys(plan.search.grid, f"{file}: search: grid")
    for entry in plan.data:
        common, places = _common_settings(plan, entry, str(file))
        common |= {"plugins": list(plugins)} if plugins else {}
        table: list[Row] = []
        for position, model in enumerate(plan.models):
            place = f"{file}: models: entry {position + 1} ({model.name})"
            table.append(_row(plan, entry.name, common, model, place, places))
        rows += [*table, *_sweep_rows(plan, Row(entry.name, "", "", common, {}, places=places), table, file)]
    configs = [check_row(row) for row in rows]
    _check_different(rows, configs, is_searched=plan.search is not None)
    _check_compared(plan, rows, file)
    return rows


def _common_settings(plan: Plan, entry: Entry, file: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Settings of all rows on a data set, and where in the plan each stands."""
    place = f"{file}: data: {entry.name}"
    for where, settings in ((f"{file}: settings", plan.settings), (place, entry.settings)):
        _check_placed(settings, where)
        _check_plannable(settings, where)
    settings = {**plan.settings, **entry.settings}
    settings["data_path"] = str(_folder_of(entry, settings, place).absolute())  # runs have a folder of their own
    own_file = settings_file(entry.name, settings["data_path"])
    measured: dict[str, Any] = {"metrics": plan.metrics, "topk": plan.topk}
    if plan.search is not None and plan.search.metric is not None:
        metric = plan.search.metric
        other = settings.get("valid_metric", metric)
        if str(other).lower() != metric.lower():
            raise ValueError(f"{file}: search: metric: {metric}, and valid_metric is {other} in settings; keep one")
        measured["valid_metric"] = metric
    elif "valid_metric" not in settings:
        measured["valid_metric"] = f"{plan.metrics[0]}@{max(plan.topk)}"
    from_file = {} if own_file is None else _settings_beside_data(own_file)
    places = {
        **dict.fromkeys(from_file, str(own_file)),
        **{key: f"{file}: {key}" for key in ("metrics", "topk")},
        "valid_metric": f"{file}: metrics" if plan.search is None else f"{file}: search: metric",
        **dict.fromkeys(plan.settings, f"{file}: settings"),
        **dict.fromkeys(entry.settings, place),
    }
    return {**from_file, **measured, **settings}, places


def _folder_of(entry: Entry, settings: dict[str, Any], place: str) -> Path:
    """The folder that holds a data set's; raises ValueError where there is none."""
    name, given = entry.name, settings.get("data_path")
    if given is not None and not isinstance(given, str):
        raise ValueError(f"{place}: data_path: {shown(given)} is not allowed; give a folder")
    if not name or Path(name).name != name or name in (".", ".."):
        raise ValueError(f"{place}: '{name}' is no name; give that of the folder with the data set's files")
    try:
        folder = Path(find_data(name) if given is None else given).expanduser()
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from error
    if not (folder / name).is_dir():
        raise ValueError(f"{place}: there is no folder {folder / name}")
    return folder


def _settings_beside_data(file: Path) -> dict[str, Any]:
    """What a data set's own file says; raises ValueError where it trusts files, or names some that are opened."""
    settings = read_settings_file(file)
    _check_plannable(settings, str(file))
    return settings


def _check_plannable(settings: Iterable[str], place: str) -> None:
    for key in settings:
        if key in _NOT_OF_PLANS:
            raise ValueError(f"{place}: {key} is nothing that a file can set; {_NOT_OF_PLANS[key]}")


def _check_placed(settings: Iterable[str], place: str, elsewhere: Mapping[str, str] = _STANDS_ELSEWHERE) -> None:
    for key in settings:
        if key in elsewhere:
            raise ValueError(f"{place}: {key} is not one of these; {elsewhere[key]}")


def _check_row_keys(keys: Iterable[str], place: str) -> None:
    _check_placed(keys, place, {**_STANDS_ELSEWHERE, **_SAME_FOR_ALL_ROWS})
    _check_plannable(keys, place)


def _row(plan: Plan, dataset: str, common: dict[str, Any], entry: Entry, place: str, places: dict[str, str]) -> Row:
    given = {key: value for key, value in entry.settings.items() if key not in _OWN_KEYS}
    name = entry.settings.get("model", entry.name)
    _check_model(name, place)
    _check_row_keys(given, place)
    is_grid = {key: plan.search is not None and _is_grid(name, dataset, common, key, given[key]) for key in given}
    fixed = {key: value for key, value in given.items() if not is_grid[key]}
    grid = {key: list(value) for key, value in given.items() if is_grid[key]}
    check_values(place, grid)
    label = entry.settings.get("label", entry.name if "model" in entry.settings else label_of(name, fixed))
    if not isinstance(label, str) or not label.strip() or not label.isprintable():
        raise ValueError(f"{place}: label: {shown(label)} is not allowed; give a text of one line")
    elsewhere = {key: where for key, where in places.items() if key not in given}
    return Row(dataset, label, name, {**common, **fixed}, fixed, grid, place=place, places=elsewhere)


def _check_model(name: Any, place: str, labels: Sequence[str] = ()) -> None:
    """Raise ValueError for what is no model; it may have been meant for the label of a row."""
    if not isinstance(name, str):
        raise ValueError(f"{place}: model: {shown(name)} is not allowed; give the name of a model")
    try:
        check_model(name)
    except ValueError as error:
        meant = closest(name, labels)
        raise ValueError(f"{place}: no row is called so{meant}" if meant else f"{place}: {error}") from error


def _is_grid(model: str, dataset: str, common: dict[str, Any], key: str, value: Any) -> bool:
    """Whether a list is one of values to search, and not itself the value of a key that takes a list."""
    if not isinstance(value, list):
        return False
    try:
        config = checked_config(model, dataset, None, common)
    except ValueError:  # which is said of the row
        return False
    try:
        check_value(config, key, value, "")
    except ValueError:
        return True
    return not isinstance(config[key], (list, tuple)) and not (config[key] is None and key == "modalities")


def _studied(name: str, table: list[Row], place: str) -> Row | None:
    """The table's row that a study is of: that of a label, or the only one of a model; None if there is none."""
    of_label = [row for row in table if row.label == name]
    found = of_label or [row for row in table if row.model == name]
    if len(found) > 1:
        labels = ", ".join(row.label for row in found)
        raise ValueError(f"{place}: {len(found)} rows are of this model; name one of them: {labels}")
    return found[0] if found else None


def _sweep_rows(plan: Plan, base: Row, table: list[Row], file: str | Path) -> Iterator[Row]:
    """The rows of all studies on a data set.

    Args:
        plan: that asks for them.
        base: a row without a model, with the settings of all rows on this data set.
        table: the rows of the table on this data set.
        file: for messages.
    """
    for name, studies in plan.sweep.items():
        place = f"{file}: sweep: {name}"
        row = _studied(name, table, place)
        if row is None:
            _check_model(name, place, [row.label for row in table])
        start = replace(base, model=name) if row is None else replace(row, varies=row.label, grid={})
        for study in studies:
            _check_row_keys(study, place)
            elsewhere = {key: where for key, where in start.places.items() if key not in study}
            for values in itertools.product(*study.values()):
                swept = dict(zip(study, values, strict=True))
                varied = replace(start, label=label_of(name, swept), sweep=swept, place=place, places=elsewhere)
                yield varied.chosen({})


def _check_different(rows: list[Row], configs: list[Config], is_searched: bool) -> None:
    """Raise ValueError for two rows of one name, or of the same settings, defaults included where none is searched."""
    labels: dict[tuple[str, str], Row] = {}
    same: dict[tuple[str, ...], Row] = {}
    for row, config in zip(rows, configs, strict=True):
        if row.sweep:
            continue
        own: dict[str, Any] = row.own
        if not is_searched:
            now = {earlier: key for kind in own_settings(config) for earlier, key in kind.aliases.items()}
            given = {key for other in rows if other.model == row.model for key in other.own}
            own = {key: config[key] for key in (key if key in config else now.get(key, key) for key in given)}
        key = (row.dataset, row.model, digest(own), digest(row.grid))
        if key in same:
            raise ValueError(f"{row.place}: the same row as {same[key].place.rpartition('models: ')[2]}; keep one")
        if (row.dataset, row.label) in labels:
            raise ValueError(f"{row.place}: another row is called '{row.label}'; give one of them a label")
        same[key] = labels[row.dataset, row.label] = row


def _check_compared(plan: Plan, rows: list[Row], file: str | Path) -> None:
    labels = list(dict.fromkeys(row.label for row in rows if not row.sweep))
    check_known(plan.compare_with, labels, f"{file}: compare_with", "row")
