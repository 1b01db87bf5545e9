"""What a search is, whatever tool runs it: checked before any trial starts."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from recbole.config import Config
from recbole.utils import init_logger

from recbole_mm.configuration import check_keys, checked_config
from recbole_mm.data_folders import data_folder, settings_file
from recbole_mm.host.config import user_settings
from recbole_mm.io.files import atomic_file
from recbole_mm.quick_start import prepare_training
from recbole_mm.search_space import SearchRange, check_searchable, find_hyper_file, read_hyper_file
from recbole_mm.setting_checks import check_value
from recbole_mm.setting_effects import warn_of_search


@dataclass(frozen=True)
class Search:
    """One model on one data set, and the ranges of its parameters.

    Attributes:
        settings: everything the user set, model and data set included: enough, with the values of one trial, to make
            its Config anywhere.
        ranges: of the parameters that the search varies.
        config: RecBole's Config of the settings, without a trial's values.
    """

    settings: dict[str, Any]
    ranges: list[SearchRange]
    config: Config

    @property
    def model(self) -> str:
        """Name of the model."""
        return self.settings["model"]

    @property
    def dataset(self) -> str:
        """Name of the data set."""
        return self.settings["dataset"]

    def better(self, score: float, than: float | None) -> bool:
        """Whether a validation score is better than another, or than none at all; one that is not finite never is."""
        if not math.isfinite(score):
            return False
        if than is None:
            return True
        return score > than if self.config["valid_metric_bigger"] else score < than


@dataclass(frozen=True)
class Winner:
    """The setting that a search chose by its validation score, and what it reached.

    Attributes:
        settings: of the whole run, as :attr:`Search.settings`, with the winner's values.
        valid_score: best value of the metric that chooses.
        valid_result: all validation metrics of that evaluation.
        test_result: test metrics, computed after the choice.
        checkpoint: the `.pth` of the best epoch.
    """

    settings: dict[str, Any]
    valid_score: float
    valid_result: dict[str, float]
    test_result: dict[str, float]
    checkpoint: Path

    def write_yaml(self, file: Path) -> None:
        """Write the settings as a file for ``run_recbole_mm.py --config_files``, with the command as its first line."""
        own = {key: value for key, value in self.settings.items() if key not in ("model", "dataset")}
        model, dataset = self.settings["model"], self.settings["dataset"]
        run = f"run_recbole_mm.py --model={model} --dataset={dataset} --config_files={shlex.quote(str(file))}"
        with atomic_file(file) as temporary:
            temporary.write_text(f"# python {run}\n" + yaml.safe_dump(own, sort_keys=False), encoding="utf-8")


def prepare_search(
    model: str, dataset: str, config_file_list: list[str] | None, params_file: str, fixed: Iterable[str] = ()
) -> Search:
    """Read and check everything a search needs.

    Args:
        model: name of the model.
        dataset: name of the data set.
        config_file_list: the user's yaml files.
        params_file: path of a `.hyper` file, or the name of one of ours.
        fixed: keys of the command line, which RecBole puts above the values of a trial.

    Raises:
        FileNotFoundError: a configuration file or the `.hyper` file does not exist.
        ValueError: an unknown model, data set, key or parameter; an empty range; a parameter both searched and fixed
            on the command line; settings without validation.
    """
    config = _config_with_data(model, dataset, config_file_list)
    file = find_hyper_file(params_file)
    ranges = read_hyper_file(file)
    _check_ranges(config, ranges, str(file), fixed)
    if config["eval_step"] <= 0:
        raise ValueError(f"eval_step: {config['eval_step']} means no validation, which a search chooses by; set 1")
    given = user_settings(config)
    settings = {"data_path": given["data_path"], **given, "model": model, "dataset": dataset}
    return Search(settings, ranges, config)


def _config_with_data(model: str, dataset: str, config_file_list: list[str] | None) -> Config:
    """The Config of all trials, which says where the data are: a search on Ray loads them once."""
    data_path = data_folder(checked_config(model, dataset, config_file_list))
    own_file = settings_file(dataset, data_path)
    files = [*([] if own_file is None else [str(own_file)]), *(config_file_list or ())]
    return checked_config(model, dataset, files, {"data_path": data_path})


def _check_ranges(config: Config, ranges: list[SearchRange], where: str, fixed: Iterable[str]) -> None:
    """Raise ValueError for a range of a key that is none or fixed, or with a value that it cannot have."""
    names = [parameter.name for parameter in ranges]
    check_keys(config, names, f"{where}: ")
    check_searchable(names, where)
    for searched in ranges:
        for value in searched.examples:
            check_value(config, searched.name, value, where)
    warn_of_search(config, {parameter.name: parameter.examples for parameter in ranges}, where)
    for name in {"model", "dataset", "data_path", *fixed}.intersection(names):
        raise ValueError(f"{name} is searched by {where} and fixed for all trials; leave one of the two out")


def winner_test_metrics(settings: dict[str, Any], checkpoint: str | Path) -> dict[str, float]:
    """Test metrics of a trained checkpoint; called once, for the winner.

    Args:
        settings: of the run, model and data set included.
        checkpoint: the `.pth` that this search wrote.
    """
    config = Config(config_dict=dict(settings))
    init_logger(config)
    trainer, *_, test_data = prepare_training(config)
    result = trainer.evaluate(test_data, load_best_model=True, model_file=str(checkpoint))
    return {metric: float(value) for metric, value in result.items()}

