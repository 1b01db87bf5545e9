"""The settings of one run: which parts declare them, their defaults in RecBole's order, and what is refused.

Every Config of the process passes here, whoever makes it: our commands, plain ``run_recbole``, a search's trial, a
checkpoint that is opened.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from recbole.config import Config

from recbole_mm.data.dataset import DatasetSettings
from recbole_mm.host.config import is_from_file, user_settings
from recbole_mm.host.recbole_settings import RecBoleSettings
from recbole_mm.host.saved_data import PICKLE_KEYS, check_trust
from recbole_mm.io.names import closest
from recbole_mm.io.yaml_files import read_settings_file
from recbole_mm.model.adapters import no_place_for_adapter
from recbole_mm.model.backbone_model import BackboneModel
from recbole_mm.model.base import MultimodalRecommender
from recbole_mm.model.late_fusion import LATE_FUSION_KEYS, no_late_fusion
from recbole_mm.model.recommender import Recommender
from recbole_mm.model.settings import ModelSettings
from recbole_mm.nn.feature_adapter import adapter_class
from recbole_mm.plugins import import_plugins
from recbole_mm.registry import ADAPTERS, MODELS, variants
from recbole_mm.run_settings import SHARED_PROTOCOL, RunSettings, SearchSettings
from recbole_mm.settings import Settings, plain_value
from recbole_mm.trainer.settings import StageSettings, TrainerSettings

_MISSPELT = 0.8  # likeness of two keys from which on the one is taken for a slip of the other
TRUST_KEYS = ("trust_pickle", "trust_plugins")
_KEYS_OF_THE_LAUNCHER = {
    *("local_rank", "nproc", "world_size", "ip", "port", "offset", "group_offset"),
    *("model", "dataset", "config_file", "config_files", "single_spec", "device", "verbose", "variant_of"),
    *("neg_sampling", "training_neg_sample_num"),  # RecBole itself says that these are deprecated
}


# ---------------------------------------------------------------- which parts a run has


def common_settings() -> list[type[Settings]]:
    """What any run may set, those of RecBole's own models included."""
    adapters = [ADAPTERS.entry(name).facts.get("settings") for name in ADAPTERS]
    return [RunSettings, SearchSettings, DatasetSettings, TrainerSettings, *filter(None, adapters)]


def model_settings(name: str, backbone: str | None = None) -> list[type[Settings]]:
    """What a model or variant of ours declares, its backbone's first; nothing for another model."""
    base = variants().get(name, name)
    if base not in MODELS:
        return []
    entry = MODELS.entry(base)
    is_model = isinstance(backbone, str) and backbone in (*MODELS, *variants())
    of_backbone = model_settings(backbone) if issubclass(entry.target, BackboneModel) and is_model else []
    stages = [StageSettings] if entry.facts["staged"] else []
    return [*of_backbone, *stages, entry.target.settings_class]


def _own_settings(config: Config) -> list[type[Settings]]:
    own = model_settings(config.model)
    if not own:
        return []
    default = own[-1].default_values().get("backbone")
    return model_settings(config.model, user_settings(config).get("backbone", default))


# ---------------------------------------------------------------- before the model is known


def complete_sources(config: Config) -> None:
    """Import plugins and settle what files may say, once all sources are read."""
    given = user_settings(config)
    for key in TRUST_KEYS:
        if key in given and is_from_file(config, key):
            if not config.is_stored:
                raise ValueError(f"{config.setting_sources[key]}: {key} is yours to give, not a file's: --{key}=True")
            del given[key]
    if config.is_stored:
        for key in PICKLE_KEYS:
            given.pop(key, None)
    trusted = not is_from_file(config, "plugins") or config.trusts_plugins or given.get("trust_plugins") is True
    import_plugins(given.get("plugins"), trusted, config.setting_sources.get("plugins", "the checkpoint"))


# ---------------------------------------------------------------- defaults


def defaults(config: Config, file: str) -> dict[str, Any]:
    """What goes behind a yaml file of RecBole's: overall < model < data set < user stays its order."""
    if file == "overall.yaml":
        return _run_defaults(config)
    if file == f"{config.model}.yaml" and _protocol(config) == "shared":  # a few of RecBole's models have their own
        return SHARED_PROTOCOL
    if file == "sample.yaml":
        own = properties_dir() / "dataset" / f"{config.dataset}.yaml"
        return read_settings_file(own) if own.is_file() else {}
    return {}


def _run_defaults(config: Config) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for kind in (ModelSettings, *common_settings()):
        found |= kind.default_values()
    own = _own_settings(config)
    if not own:
        del found["embedding_size"]  # RecBole's models have their own
    protocol = _protocol(config)
    if protocol != "recbole" and (own or protocol == "shared"):
        found |= SHARED_PROTOCOL
    for kind in own:
        found |= _declared_values(kind)
        found |= getattr(kind, "published", {}) if protocol == "published" else {}
    base = variants().get(config.model)
    return found | (MODELS.entry(base).facts["variants"][config.model] if base else {})


def _declared_values(kind: type[Settings]) -> dict[str, Any]:
    """Defaults but those that all models have: a wrapper leaves its backbone's as they are."""
    of_all = ModelSettings.default_values()
    return {key: value for key, value in kind.default_values().items() if key not in of_all or value != of_all[key]}


def _protocol(config: Config) -> str:
    return user_settings(config).get("protocol") or ("shared" if model_settings(config.model) else "recbole")


def properties_dir() -> Path:
    """Folder of the yaml and hyper files: inside the installed package, or beside it in a checkout."""
    inside = Path(__file__).parent / "properties"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "properties"


# ---------------------------------------------------------------- checks


def check(config: Config, final: dict[str, Any]) -> dict[str, Any]:
    """The finished settings, each of its declared type; raises ValueError, one line, for what cannot be."""
    config.final_config_dict = final
    own = _own_settings(config)
    for kind in _parts(own):
        _rename_earlier_keys(config, final, kind.aliases)
        values = _values_for(kind, final, own)
        final |= kind.read(values, config.model, config.setting_sources).changed(values)
    if issubclass(config.model_class, BackboneModel):
        config.model_class.check_backbone(config)  # before keys that may be another backbone's
    if not config.is_stored:
        _check_known(config)
    check_trust(final)
    _check_adapter(config)
    _check_valid_metric(final)
    return final


def _rename_earlier_keys(config: Config, final: dict[str, Any], aliases: Mapping[str, str]) -> None:
    """Take a key's earlier name for its present one."""
    given = user_settings(config)
    for earlier, key in aliases.items():
        if earlier not in given:
            continue
        if key in given:
            raise ValueError(f"{earlier} is the earlier name of {key}, and both are set; leave {earlier} out")
        logging.getLogger(__name__).warning("%s is called %s now; change it where you set it", earlier, key)
        given[key] = final[key] = given.pop(earlier)
        final.pop(earlier)
        if earlier in config.setting_sources:
            config.setting_sources[key] = config.setting_sources.pop(earlier)


def check_value(config: Config, key: str, value: Any, where: str) -> None:
    """Raise ValueError where one key, such as a search varies, cannot have a value.

    Args:
        config: of the run.
        key: known to it.
        value: to try.
        where: it stands, for the message.
    """
    own = _own_settings(config)
    for kind in _parts(own):
        kind.read(_values_for(kind, {key: plain_value(value)}, own), config.model, {key: where})


def _parts(own: list[type[Settings]]) -> list[type[Settings]]:
    return [RecBoleSettings, *common_settings(), *(own or [ModelSettings])]


def _values_for(kind: type[Settings], final: dict[str, Any], own: list[type[Settings]]) -> dict[str, Any]:
    """The settings as one part sees them."""
    left_out = set()
    if not own and kind is ModelSettings:
        left_out = {"embedding_size"}  # RecBole's models have their own
    elif kind in own[:-1]:
        left_out = {"backbone"}  # the wrapper's, not that of a backbone
    return {key: value for key, value in final.items() if key not in left_out}


def _check_known(config: Config) -> None:
    """A misspelt key is refused, and so is any unknown key of a model that declares its own.

    Other models, RecBole's and users' without declared settings, may have keys that nobody lists; such a key passes
    with a warning unless it is like a known one.
    """
    for key in unknown_keys(config, user_settings(config)):
        if declares_keys(config) or key in LATE_FUSION_KEYS or closest(key, known_keys(config), _MISSPELT):
            raise ValueError(unknown_key(config, key))
        logging.getLogger(__name__).warning("the key '%s' is not known to %s", key, config.model)


def declares_keys(config: Config) -> bool:
    """Whether a model says which keys it has: those of ours do, and users' that declare settings."""
    base = variants().get(config.model, config.model)
    if base not in MODELS:
        return False
    entry = MODELS.entry(base)
    return entry.facts["declares_settings"] or entry.target.__module__.startswith("recbole_mm.")


def known_keys(config: Config) -> set[str]:
    """Names of all keys that this run can have."""
    name = config["feature_adapter"]
    adapter = adapter_class(name) if isinstance(name, str) and name in ADAPTERS else None
    kinds = [RecBoleSettings, *common_settings(), ModelSettings, *_own_settings(config)]
    return {
        *config.internal_config_dict,
        *_KEYS_OF_THE_LAUNCHER,
        *(key for keys in config.parameters.values() for key in keys),
        *(key for kind in kinds for key in (*kind.model_fields, *kind.aliases)),
        *(adapter.keys if adapter else ()),
    }


def unknown_keys(config: Config, keys: Iterable[str]) -> list[str]:
    """Those of `keys` that neither RecBole nor the model, the data set or the trainer knows."""
    known = known_keys(config)
    return [key for key in keys if key not in known]


def unknown_key(config: Config, key: str, where: str = "") -> str:
    """The line about a key that is not known, with the closest that is."""
    place = where or f"{config.setting_sources[key]}: " if key in config.setting_sources else where
    if key in LATE_FUSION_KEYS:
        return f"{place}{no_late_fusion(config.model, key)}"
    return (
        f"{place}unknown key '{key}'{closest(key, known_keys(config))}; {config.model} takes the keys of its yaml, of "
        f"RecBole's overall.yaml and of the data set"
    )


def _check_adapter(config: Config) -> None:
    adapter, model = config["feature_adapter"], config.model_class
    if adapter_class(adapter) is None or issubclass(model, (MultimodalRecommender, BackboneModel)):
        return
    if issubclass(model, Recommender):
        raise ValueError(no_place_for_adapter(config.model, adapter))
    raise ValueError(
        f"feature_adapter: {config.model} is RecBole's own model, which reads no features; leave the key out"
    )


def _check_valid_metric(final: Mapping[str, Any]) -> None:
    """Refuse to choose by a metric that is not measured; RecBole finds it after an epoch."""
    metric, _, k = final["valid_metric"].partition("@")
    measured = [name.lower() for name in final["metrics"]]
    if metric.lower() not in measured or (k and k not in map(str, final["topk"])):
        raise ValueError(
            f"valid_metric: {final['valid_metric']} is not measured; set it to one of `metrics` {final['metrics']} "
            f"at one of `topk` {final['topk']}, or add it there"
        )
