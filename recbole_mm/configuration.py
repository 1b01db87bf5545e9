"""RecBole's Config of a run, after checking what RecBole does not: names, files and keys.

A mistake in one of them is an error before anything is loaded, not a setting that is lost.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from recbole.config import Config

from recbole_mm.data.default_data import DEFAULT_DATASET
from recbole_mm.host.config import user_settings
from recbole_mm.io.yaml_files import read_settings_file
from recbole_mm.registration import recbole_models
from recbole_mm.setting_checks import declares_keys, is_slip, unknown_key, unknown_keys

DEFAULT_MODEL = "POWERec"


def names_of_run(
    model: str | None,
    dataset: str | None,
    config_file_list: Iterable[str] | None = None,
    config_dict: dict[str, Any] | None = None,
) -> tuple[str, str]:
    """Which model and data set run: as asked for, or as a file or the dictionary says, or the defaults.

    Raises as reading the files does.
    """
    settings: dict[str, Any] = {}
    for file in config_file_list or ():
        settings |= read_settings_file(file)
    settings |= config_dict or {}
    return (
        settings.get("model", DEFAULT_MODEL) if model is None else model,
        settings.get("dataset", DEFAULT_DATASET) if dataset is None else dataset,
    )


def checked_config(
    model: str, dataset: str, config_file_list: list[str] | None = None, config_dict: dict[str, Any] | None = None
) -> Config:
    """RecBole's Config of a run, after checking the names, the files and the keys.

    Raises:
        ValueError: unknown model or configuration key, whose message names the closest one there is; a backbone or
            metric that cannot be; or a configuration file that is no yaml.
        FileNotFoundError: a configuration file does not exist.
    """
    in_files = any("protocol" in read_settings_file(file) for file in config_file_list or ())
    on_command_line = any(argument.startswith("--protocol=") for argument in sys.argv[1:])
    if not in_files and not on_command_line:  # one for all models that our commands run, RecBole's own included
        config_dict = {"protocol": "shared", **(config_dict or {})}
    config = Config(model, dataset, config_file_list, config_dict)
    check_keys(config, user_settings(config))
    return config


def check_keys(config: Config, keys: Iterable[str], where: str = "") -> None:
    """Raise ValueError for one of `keys` that neither RecBole nor the model knows: a misspelt key is lost.

    A model of a user's own that declares no settings takes any that is not like a known one.

    Args:
        config: of the model and data set.
        keys: to check, such as those a user set.
        where: they stand, for the message, such as ``"file x: "``.
    """
    is_strict = config.model in recbole_models() or declares_keys(config)
    for key in unknown_keys(config, keys):
        if is_strict or is_slip(config, key):
            raise ValueError(unknown_key(config, key, where))
