"""RecBole's Config: nothing evaluated, plain yaml, one place where settings are completed and checked.

RecBole runs ``eval()`` on every string of ``config_dict`` and of the command line (configurator.py:131), reads yaml
with a loader that can name any object of Python, and takes any key and any value.
"""

from __future__ import annotations

import copy
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from logging import getLogger
from pathlib import Path
from typing import Any

import yaml
from recbole.config import Config
from recbole.model.abstract_recommender import AbstractRecommender
from recbole.model.context_aware_recommender import KD_DAGFM

from recbole_mm.host.mend import mend
from recbole_mm.io.yaml_files import parse_yaml, read_settings_file
from recbole_mm.settings import plain_value

KEYS_OF_THE_PROCESSES = ("local_rank", "nproc", "world_size", "ip", "port", "offset", "group_offset")


class StoredSettings(dict[str, Any]):
    """A ``config_dict`` that comes from a file, such as a checkpoint's: its values are taken as they are.

    The command line of the process is not read beside it, which may be another program's.

    Args:
        settings: by key.
        trusts_plugins: whether modules that it names under ``plugins`` may be imported.
        source: the file, for messages.
    """

    def __init__(self, settings: dict[str, Any], trusts_plugins: bool = False, source: str = "the checkpoint"):
        super().__init__(settings)
        self.trusts_plugins = trusts_plugins
        self.source = source


@dataclass(frozen=True)
class Hooks:
    """What is asked, in this order, while a Config is made.

    Attributes:
        before_model: after all sources are read, before the model is looked for.
        defaults: settings that go right behind a file of RecBole's, given the Config and the file's name.
        check: the finished settings, which it may replace by what is meant (64 for 64.0).
    """

    before_model: Callable[[Config], None]
    defaults: Callable[[Config, str], dict[str, Any]]
    check: Callable[[Config, dict[str, Any]], dict[str, Any]]


@cache
def apply(hooks: Hooks) -> None:
    """Let every Config of this process be made as the module says. Called once, at import."""
    get_final, get_names = Config._get_final_config_dict, Config._get_model_and_dataset

    def merge(config: Config) -> None:
        sources = config.file_config_dict, config.variable_config_dict, config.cmd_config_dict
        config.external_config_dict = {key: value for source in sources for key, value in source.items()}
        hooks.before_model(config)

    def names(config: Config, model: str | type | None, dataset: str | None) -> tuple[str, type, str]:
        _check_names(config, model=model, dataset=dataset)
        return get_names(config, model, dataset)

    def final(config: Config) -> dict[str, Any]:
        config.final_config_dict = get_final(config)  # for those who ask the config for a setting meanwhile
        return hooks.check(config, config.final_config_dict)

    def read_internal(config: Config, file: str) -> dict[str, Any] | None:
        settings = copy.deepcopy(_parse_own(Path(file).read_text(encoding="utf-8")))
        config.internal_config_dict.update(settings or {})
        config.internal_config_dict.update(hooks.defaults(config, Path(file).name))
        return settings

    Config._build_yaml_loader = lambda config: yaml.SafeLoader  # goes into checkpoints: a name of ours would, too
    Config._convert_config_dict = lambda config, settings: _plain_values(settings)
    Config._load_config_files = _read_files
    Config._load_variable_config_dict = _read_dictionary
    Config._load_cmd_line = _read_command_line
    Config._merge_external_config_dict = merge
    Config._get_model_and_dataset = names
    Config._update_internal_config_dict = read_internal
    Config._get_final_config_dict = final
    mend(KD_DAGFM.__init__, "eval(f\"{config['teacher']}\")(", "globals()[config['teacher']](")


# By text: the files of RecBole, the same for every Config of a process, take a fifth of the time to begin a small run.
_parse_own = cache(parse_yaml)


def _check_names(config: Config, **names: Any) -> None:
    """Raise ValueError where a name is none or missing; say which of two that differ counts."""
    for kind, name in names.items():
        _check_name(kind, name)
    for kind, name in names.items():
        given = user_settings(config).get(kind)
        if name is None and given is None:
            raise ValueError(f"no {kind} is named; give it as an argument or as the key {kind} of a file")
        if given not in (None, name) and isinstance(name, str):
            source = config.setting_sources.get(kind, "config_dict")
            getLogger(__name__).warning("%s: %s of %s gives way to %s", kind, given, source, name)


def _check_name(kind: str, name: Any) -> None:
    is_class = kind == "model" and isinstance(name, type) and issubclass(name, AbstractRecommender)
    if name is not None and not isinstance(name, str) and not is_class:
        raise ValueError(f"{kind}: {name!r} is no name of a {kind}")


def _read_files(config: Config, files: list[str] | None) -> dict[str, Any]:
    _check_files(files)
    settings: dict[str, Any] = {}
    config.setting_sources = {}
    for file in files or ():
        found = read_settings_file(file)
        settings |= found
        config.setting_sources |= dict.fromkeys(found, f"file {file}")
    return settings


def _check_files(files: Any) -> None:
    if isinstance(files, (str, bytes)) or not isinstance(files, (Iterable, type(None))):
        raise ValueError(f"config_file_list: {files!r} is no list of files; write ['FILE.yaml']")
    for file in files or ():
        if not isinstance(file, (str, os.PathLike)):
            raise ValueError(f"config_file_list: {file!r} is no path of a file")


def _check_dictionary(settings: Any) -> None:
    if not isinstance(settings, (Mapping, type(None))):
        raise ValueError(f"config_dict: {settings!r} is no dictionary of settings; write {{'epochs': 10}}")
    for key in settings or ():
        if not isinstance(key, str):
            raise ValueError(f"config_dict: {key!r} is no name of a setting")


def _read_dictionary(config: Config, settings: dict[str, Any] | None) -> dict[str, Any]:
    stored = settings if isinstance(settings, StoredSettings) else None
    config.is_stored = stored is not None
    config.trusts_plugins = stored is not None and stored.trusts_plugins
    if settings is None:
        return {}
    _check_dictionary(settings)
    for key in settings:
        config.setting_sources.pop(key, None)
    if stored is not None:
        config.setting_sources |= dict.fromkeys(stored, stored.source)
        return dict(stored)
    return _plain_values(settings)


def _plain_values(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: plain_value(value, key) for key, value in settings.items()}


def _read_command_line(config: Config) -> dict[str, Any]:
    """``--key=value`` arguments of the process; values may hold ``=``, which RecBole passes over."""
    if config.is_stored or "ipykernel_launcher" in sys.argv[0]:
        return {}
    settings: dict[str, Any] = {}
    for argument in sys.argv[1:]:
        key, equals, text = argument.removeprefix("--").partition("=")
        if not argument.startswith("--") or not equals:
            getLogger().warning("command line argument %s is not used by RecBole; give --key=value", argument)
            continue
        value = plain_value(text, key)
        if key in settings and settings[key] != value:
            raise ValueError(f"--{key} is given twice, with different values; keep one")
        settings[key] = value
        config.setting_sources.pop(key, None)
    return settings


def check_sources(files: Any, settings: Any) -> tuple[list[Any], dict[str, Any]]:
    """Files and dictionary of a run as lists and dictionaries of its own; raises ValueError where they are none."""
    _check_files(files)
    _check_dictionary(settings)
    return list(files or ()), dict(settings or {})


def user_settings(config: Config) -> dict[str, Any]:
    """What the user set, of all sources, without any default."""
    return config.external_config_dict


def is_from_file(config: Config, key: str) -> bool:
    """Whether a setting of the user's stands in a file, a checkpoint included, not in code or on the command line."""
    if key in config.cmd_config_dict:
        return False
    return config.is_stored or (key in config.file_config_dict and key not in config.variable_config_dict)


def is_from_command_line(config: Config, key: str) -> bool:
    """Whether the process's command line sets a key."""
    return key in config.cmd_config_dict


def default_settings(config: Config) -> dict[str, Any]:
    """All defaults: RecBole's, ours and the model's."""
    return config.internal_config_dict


def all_settings(config: Config) -> dict[str, Any]:
    """What the run is made with: defaults and what the user set."""
    return config.final_config_dict


def of_one_process(config: Config, keys_of_processes: Iterable[str]) -> Config:
    """A Config as a run in one process has it, without the keys that are of several."""
    alone, left_out = copy.copy(config), set(keys_of_processes)
    for part in ("internal_config_dict", "external_config_dict", "final_config_dict"):
        setattr(alone, part, {key: value for key, value in getattr(config, part).items() if key not in left_out})
    alone.final_config_dict |= {"single_spec": True, "local_rank": 0}
    return alone
