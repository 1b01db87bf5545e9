"""The rows of an experiment: each a model with settings on one data set, checked as a run's own are."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from recbole.config import Config
from recbole.utils import ModelType

from recbole_mm.configuration import check_keys, checked_config
from recbole_mm.data.feature_file import find_modalities, has_modality
from recbole_mm.data.file_form import FileForm
from recbole_mm.experiment.identity import row_name
from recbole_mm.host.user_results import is_by_user
from recbole_mm.io.names import closest
from recbole_mm.model.backbone_model import BackboneModel
from recbole_mm.model.base import MultimodalRecommender
from recbole_mm.model.closed_form import ClosedFormRecommender
from recbole_mm.model.recommender import Recommender
from recbole_mm.registration import recbole_models
from recbole_mm.run_settings import evaluation_modes
from recbole_mm.setting_checks import check_value
from recbole_mm.setting_effects import warn_of_search


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
        varies: label of the table's row that the study is of; empty where it is of a model that has no row.
        audit: of a row with a modality replaced, the ``row`` it belongs to, the ``modality`` and the ``kind``.
        place: in the plan, for messages.
        places: in the plan, of settings that stand elsewhere, by key.
    """

    dataset: str
    label: str
    model: str
    settings: dict[str, Any]
    own: dict[str, Any]
    grid: dict[str, list[Any]] = field(default_factory=dict)
    sweep: dict[str, Any] = field(default_factory=dict)
    varies: str = ""
    audit: dict[str, str] = field(default_factory=dict)
    place: str = ""
    places: Mapping[str, str] = field(default_factory=dict)

    def config(self) -> Config:
        """RecBole's Config of the row; raises ValueError for a setting that cannot be."""
        return checked_config(self.model, self.dataset, None, self.settings)

    def chosen(self, values: dict[str, Any]) -> Row:
        """The row with the values that a search has chosen; what a study varies stays."""
        values = {**values, **self.sweep}
        return replace(self, settings={**self.settings, **values}, own={**self.own, **values}, grid={})

    @property
    def identity(self) -> str:
        """Hash of everything the row's results depend on, but for seed and data.

        A point of a study that happens to have its row's own settings is a run of its own beside the row's.
        """
        sweep = self.sweep if self.varies else None
        return row_name(self.dataset, self.model, without_paths(self.settings), sweep)


def label_of(name: str, settings: Mapping[str, Any]) -> str:
    """What a row is called: a model's or a row's name, and the settings that make it differ."""
    if not settings:
        return name
    return f"{name} ({', '.join(f'{key}={plain(value)}' for key, value in settings.items())})"


def plain(value: Any) -> str:
    """A value of a setting as labels and tables show it."""
    return "+".join(map(str, value)) if isinstance(value, list) else str(value)


def without_paths(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings but those that say where files lie and how a run is shown, which change no result."""
    left_out = ("data_path", "checkpoint_dir", "graph_dir", "log_dir", "tensorboard_dir", "show_progress", "state")
    return {key: value for key, value in settings.items() if key not in left_out}


def is_solved(config: Config) -> bool:
    """Whether a model has no epochs."""
    return config["MODEL_TYPE"] == ModelType.TRADITIONAL or issubclass(config.model_class, ClosedFormRecommender)


def modalities_of(row: Row) -> list[str]:
    """Names of the modalities that the row's model reads; none of a model of IDs alone."""
    return _modalities(row.config(), row.dataset)


def _modalities(config: Config, dataset: str) -> list[str]:
    if not issubclass(config.model_class, (MultimodalRecommender, BackboneModel, ClosedFormRecommender)):
        return []
    if config["modalities"] is not None:
        return config["modalities"]
    return find_modalities(Path(config["data_path"]), dataset, FileForm.of_settings(config))


# ---------------------------------------------------------------- what no row may be


def check_row(row: Row) -> Config:
    """The row's Config; raises ValueError for what its runs would end with: what its model or data do not take."""
    try:
        config = row.config()
        if set(evaluation_modes(config)) != {"full"}:
            raise ValueError("eval_args: an experiment keeps each user's list of all items; give mode: full")
        if not any(map(is_by_user, config["metrics"])):
            raise ValueError(
                f"metrics: {', '.join(config['metrics'])} is of all users together; give one that is measured user by "
                "user too, such as NDCG"
            )
        _check_modalities(config, row.dataset)
        _check_epochs(config, config["epochs"])
    except (ValueError, OSError) as error:
        key = re.match(r"(?:unknown key ')?(\w+)", str(error))
        place = row.places.get(key[1], row.place) if key else row.place
        twice = f"{key[1]}: " if key and place.endswith(f": {key[1]}") else ""
        is_grid = key is not None and not row.grid and isinstance(row.own.get(key[1]), list)
        hint = "; a list of values to choose from needs the plan's key search" if is_grid else ""
        raise ValueError(f"{place}: {str(error).removeprefix(twice)}{hint}") from error
    check_grid(row, row.grid, row.place, config)
    return config


def check_grid(row: Row, grid: Mapping[str, Sequence[Any]], place: str, config: Config | None = None) -> None:
    """Raise ValueError for a key or a value of a search that the row's model does not take."""
    config = row.config() if config is None else config
    check_keys(config, grid, f"{place}: ")
    for key, values in grid.items():
        for value in values:
            check_value(config, key, value, place)
            try:
                if key == "modalities":
                    _check_modalities(row.chosen({key: value}).config(), row.dataset)
                if key == "epochs":
                    _check_epochs(config, value)
                if row.model in recbole_models():  # which declare nothing
                    row.chosen({key: value}).config()
            except ValueError as error:
                raise ValueError(f"{place}: {error}") from error
    warn_of_search(config, grid, place)


def _check_epochs(config: Config, epochs: int) -> None:
    if epochs < 1 and not is_solved(config):
        raise ValueError(f"epochs: {epochs} trains nothing to compare; give at least 1")


def _check_modalities(config: Config, dataset: str) -> None:
    """Raise ValueError for modalities that are not there, before the data set is loaded, which says the same."""
    folder, form, names = Path(config["data_path"]), FileForm.of_settings(config), _modalities(config, dataset)
    there = find_modalities(folder, dataset, form)
    for name in names:
        if not has_modality(folder, dataset, name, form):
            known = ", ".join(there) or "none"
            raise ValueError(f"modalities: '{name}' has no file in {folder}{closest(name, there)}; there are {known}")
    for key in ("knock_out", "missing_share") if names else ():
        for name in config[key] or ():
            if name not in names:
                raise ValueError(
                    f"{key}: '{name}' is no modality in use{closest(name, names)}; there are {', '.join(names)}"
                )
    if not names and issubclass(config.model_class, (MultimodalRecommender, BackboneModel)):
        raise ValueError(f"modalities: {config.model} needs features, and it has none of {folder}")
    if issubclass(config.model_class, Recommender):
        config.model_class.check_files(config, names)
