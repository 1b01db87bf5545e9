"""What no run's settings may be: each key known, each value of its type, and what belongs together fitting."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from recbole.config import Config

from recbole_mm.host.config import KEYS_OF_THE_PROCESSES, default_settings, is_from_command_line, user_settings
from recbole_mm.host.recbole_models import check_undeclared
from recbole_mm.host.recbole_settings import RecBoleSettings
from recbole_mm.host.saved_data import check_saved_data, check_trust
from recbole_mm.io.names import closest
from recbole_mm.model.backbone_model import BackboneModel, BackboneModelSettings
from recbole_mm.model.late_fusion import LATE_FUSION_KEYS, no_late_fusion
from recbole_mm.model.settings import ModelSettings
from recbole_mm.nn.feature_adapter import adapter_class
from recbole_mm.parts import is_ours, place_of
from recbole_mm.registry import ADAPTERS, MODELS, Entry, RegistryError, variants
from recbole_mm.setting_conditions import conditions
from recbole_mm.setting_conflicts import check_conflicts
from recbole_mm.setting_effects import warn_once, warn_without_effect
from recbole_mm.setting_rules import common_settings, own_settings
from recbole_mm.settings import Settings, declared_keys, plain_value
from recbole_mm.trainer.settings import StageSettings

_MISSPELT = 0.8  # likeness of two keys from which on the one is taken for a slip of the other
_KEYS_OF_THE_LAUNCHER = {
    *KEYS_OF_THE_PROCESSES,
    *("model", "dataset", "config_files", "single_spec", "device", "verbose"),
    *("neg_sampling", "training_neg_sample_num"),  # RecBole itself says that these are deprecated
}


def check(config: Config, final: dict[str, Any]) -> dict[str, Any]:
    """The finished settings, each of its declared type; raises ValueError, one line, for what cannot be."""
    own = own_settings(config)
    for kind in _parts(own):
        others = {key for other in own if other is not kind for key in other.model_fields}
        aliases = {earlier: key for earlier, key in kind.aliases.items() if earlier not in others}
        _rename_earlier_keys(config, final, aliases)
        values = _values_for(kind, final, own)
        final |= kind.read(values, config.model, config.setting_sources).changed(values)
    if issubclass(config.model_class, BackboneModel):
        config.model_class.check_backbone(config)  # before keys that may be another backbone's
    if not config.is_stored:
        _check_known(config)
    check_undeclared(config, _declared(own))
    check_trust(final)
    if not config.is_stored:
        check_saved_data(final)
    check_conflicts(config)
    if not config.is_stored:  # a checkpoint has all keys, whoever set them
        warn_without_effect(config, final)
    return final


def _declared(own: list[type[Settings]]) -> set[str]:
    """Keys whose values their declarations have checked."""
    return {key for kind in _parts(own) for key in kind.model_fields if own or key != "embedding_size"}


def _rename_earlier_keys(config: Config, final: dict[str, Any], aliases: Mapping[str, str]) -> None:
    """Take a key's earlier name for its present one."""
    given = user_settings(config)
    for earlier, key in aliases.items():
        if earlier not in given:
            continue
        if key in given:
            raise ValueError(f"{earlier} is the earlier name of {key}, and both are set; leave {earlier} out")
        warn_once(f"{earlier} is called {key} now; change it where you set it")
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
    own = own_settings(config)
    is_present = any(key in kind.model_fields for kind in own)
    for kind in _parts(own):
        name = key if is_present else kind.aliases.get(key, key)  # the earlier name has the present one's values
        kind.read(_values_for(kind, {name: plain_value(value, key)}, own), config.model, {name: where})


def _parts(own: list[type[Settings]]) -> list[type[Settings]]:
    return [RecBoleSettings, *common_settings(), *(own or [ModelSettings])]


def _values_for(kind: type[Settings], final: dict[str, Any], own: list[type[Settings]]) -> dict[str, Any]:
    """The settings as one part sees them."""
    is_recboles = not own and kind is ModelSettings  # whose models have an embedding_size of their own
    return {key: value for key, value in final.items() if not (is_recboles and key == "embedding_size")}


def _check_known(config: Config) -> None:
    """A misspelt key is refused, and so is any unknown key of a model that declares its own.

    Other models, RecBole's and users' without declared settings, may have keys that nobody lists; such a key passes
    with a warning unless it is like a known one. So does one of the command line, which may be another program's:
    our commands look at theirs by themselves.
    """
    for key in unknown_keys(config, user_settings(config)):
        if not is_from_command_line(config, key) and (declares_keys(config) or is_slip(config, key)):
            raise ValueError(unknown_key(config, key))
        logging.getLogger(__name__).warning("the key '%s' is not known to %s", key, config.model)


def check_settings_of_model(entry: Entry) -> None:
    """Raise RegistryError for settings of a model that lack what its kind of model reads."""
    kind, is_around = entry.facts["settings"], issubclass(entry.target, BackboneModel)
    base = BackboneModelSettings if is_around else ModelSettings
    if kind is not None and not issubclass(kind, base):
        lack = "is around a backbone, and its settings {} have none" if is_around else "has settings {} of another part"
        raise RegistryError(
            f"model '{entry.name}' {lack.format(place_of(kind))}; derive them from {base.__name__} of recbole_mm"
        )


def check_keys_of_plugin(entry: Entry) -> None:
    """Raise RegistryError where a plugin's model names a key that is none, or a value that it cannot have.

    Such stand in the defaults of its settings, its variants, and what a key needs to act. Of a model that declares no
    settings, nobody knows all keys.
    """
    kind = entry.facts["settings"]
    if kind is None or is_ours(entry.target):  # our tests run each of ours
        return
    kinds = [RecBoleSettings, *common_settings(), ModelSettings, StageSettings, kind]
    if issubclass(entry.target, BackboneModel):
        kinds += [MODELS.get(name).settings_class for name in MODELS if MODELS.get(name) is not entry.target]
    known = {key for settings_kind in kinds for key in settings_kind.model_fields}
    changes = {f"variant '{name}' of {entry.name}": changed for name, changed in entry.facts["variants"].items()}
    for place, changed in {f"defaults of {place_of(kind)}": kind.defaults, **changes}.items():
        _check_named(place, changed, known)
        try:
            kind.read(changed)
        except ValueError as error:
            raise RegistryError(f"{place}: {error}") from error
    for key in kind.model_fields:
        _check_named(f"acts_where of {place_of(kind)}.{key}", [item.key for item in conditions(kind, key)], known)


def _check_named(place: str, keys: Iterable[Any], known: Iterable[str]) -> None:
    for key in keys:
        if key not in known:
            raise RegistryError(f"{place}: unknown key '{key}'{closest(str(key), known)}")


def is_slip(config: Config, key: str) -> bool:
    """Whether an unknown key is a misspelt one, or one of POWERec's components, rather than somebody's own."""
    return key in LATE_FUSION_KEYS or bool(closest(key, known_keys(config), _MISSPELT))


def declares_keys(config: Config) -> bool:
    """Whether a model says which keys it has: those of ours do, and users' that declare settings."""
    base = variants().get(config.model, config.model)
    if base not in MODELS:
        return False
    entry = MODELS.entry(base)
    return entry.facts["settings"] is not None or is_ours(entry.target)


def known_keys(config: Config) -> set[str]:
    """Names of all keys that this run can have."""
    name = config["feature_adapter"]
    adapter = adapter_class(name) if isinstance(name, str) and name in ADAPTERS else None
    kinds: list[type[Settings]] = [RecBoleSettings, *common_settings(), ModelSettings, *own_settings(config)]
    return {
        *default_settings(config),
        *_KEYS_OF_THE_LAUNCHER,
        *(key for keys in config.parameters.values() for key in keys),
        *declared_keys(kinds),
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
