"""RecBole's Config of a run, after checking what RecBole does not: names, files and keys.

A mistake in one of them is an error before anything is loaded, not a setting that is lost.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import yaml
from recbole.config import Config

from recbole_mm.io.names import closest
from recbole_mm.model.base import LATE_FUSION_KEYS, MultimodalRecommender, no_late_fusion
from recbole_mm.nn.feature_adapter import adapter_class
from recbole_mm.plugins import PluginError
from recbole_mm.registration import model_yaml, recbole_models, variants
from recbole_mm.registry import MODELS
from recbole_mm.trainer.checkpoint import KEYS_OF_THE_PROCESSES, one_line

_KEYS_OF_THE_LAUNCHER = {
    *KEYS_OF_THE_PROCESSES, "model", "dataset", "config_files", "single_spec", "device", "verbose",
}  # fmt: skip


def checked_config(model: str, dataset: str, config_file_list=None, config_dict=None) -> Config:
    """RecBole's Config of a run, after checking the names, the files and the keys.

    Raises:
        ValueError: unknown model or configuration key, whose message names the closest one there is; a backbone or
            metric that cannot be; or a configuration file that is no yaml.
        FileNotFoundError: a configuration file does not exist.
    """
    for file in config_file_list or ():
        check_config_file(file)
    config = make_config(model, dataset, config_file_list, config_dict)
    if issubclass(config.model_class, MultimodalRecommender):
        config.model_class.check_backbone(config)  # whose yaml has keys that come next
    check_feature_adapter(config)
    check_keys(config, config.external_config_dict)
    check_valid_metric(config)
    return config


def make_config(model: str, dataset: str, config_file_list=None, config_dict=None) -> Config:
    """RecBole's Config, which imports plugins before it looks for the model.

    Raises ValueError as :func:`check_model`, and PluginError.
    """
    try:
        return Config(model, dataset, config_file_list, config_dict)
    except PluginError:  # not the model, which a plugin may hold, is missing
        raise
    except (ValueError, ImportError, AttributeError):  # as RecBole ends where it finds no model of that name
        check_model(model)
        raise


def check_model(name: str) -> None:
    """Raise ValueError listing the models there are, and the closest name, if `name` is none of them."""
    ours = sorted({*MODELS, *variants()})
    known = {*ours, *recbole_models()}
    if name not in known:
        raise ValueError(
            f"unknown model '{name}'{closest(name, known)}. Multimodal models: {', '.join(ours)}. "
            f"RecBole's: {', '.join(recbole_models())}"
        )


def check_feature_adapter(config: Config) -> None:
    """Raise ValueError where ``feature_adapter`` is not registered, or the model is RecBole's own."""
    if adapter_class(config["feature_adapter"]) and not issubclass(config.model_class, MultimodalRecommender):
        raise ValueError(
            f"feature_adapter: {config.model} is RecBole's own model, which reads no features; leave the key out"
        )


def check_config_file(file: str) -> None:
    """Raise FileNotFoundError or ValueError unless `file` is there and holds ``key: value`` lines."""
    if not Path(file).is_file():
        raise FileNotFoundError(f"configuration file {file} does not exist")
    try:
        content = yaml.load(Path(file).read_text(encoding="utf-8"), Loader=yaml.FullLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"configuration file {file} is no yaml: {one_line(error)}") from error
    if not isinstance(content, dict):
        raise ValueError(f"configuration file {file} holds no settings; it needs lines such as 'epochs: 10'")


def check_keys(config: Config, keys: Iterable[str], where: str = "") -> None:
    """Raise ValueError for one of `keys` that neither RecBole nor the model knows: a misspelt key is lost.

    A model of a user's own has no yaml that names its keys, and takes any.

    Args:
        config: of the model and data set.
        keys: to check, such as those a user set.
        where: they stand, for the message, such as ``"file x: "``.
    """
    if config.model not in recbole_models() and not model_yaml(config.model).is_file():
        return
    known = set(config.internal_config_dict) | _KEYS_OF_THE_LAUNCHER
    known.update(key for keys in config.parameters.values() for key in keys)
    adapter = adapter_class(config["feature_adapter"])
    known.update(adapter.keys if adapter else ())
    for key in keys:
        if key not in known and key in LATE_FUSION_KEYS:
            raise ValueError(f"{where}{no_late_fusion(config.model, key)}")
        if key not in known:
            raise ValueError(
                f"{where}unknown key '{key}'{closest(key, known)}; {config.model} takes the keys of its yaml, of "
                f"RecBole's overall.yaml and of the data set"
            )


def check_valid_metric(config: Config) -> None:
    """Raise ValueError where model selection asks for a metric that is not measured; RecBole asks after an epoch."""
    metric, _, k = config["valid_metric"].partition("@")
    measured = [name.lower() for name in config["metrics"]]
    if metric.lower() not in measured or (k and k not in map(str, config["topk"])):
        raise ValueError(
            f"valid_metric: {config['valid_metric']} is not measured; set it to one of `metrics` {config['metrics']} "
            f"at one of `topk` {config['topk']}, or add it there"
        )
