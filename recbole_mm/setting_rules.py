"""The settings of one run: which parts declare them, their defaults in RecBole's order, and what files may say.

Every Config of the process passes here, whoever makes it: our commands, plain ``run_recbole``, a search's trial, a
checkpoint that is opened.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from recbole.config import Config

from recbole_mm.data.dataset_settings import DatasetSettings
from recbole_mm.host.config import KEYS_OF_THE_PROCESSES, is_from_file, user_settings
from recbole_mm.host.saved_data import PICKLE_KEYS
from recbole_mm.io.yaml_files import read_settings_file
from recbole_mm.model.backbone_model import BackboneModel
from recbole_mm.model.settings import ModelSettings
from recbole_mm.plugins import import_plugins
from recbole_mm.registry import ADAPTERS, MODELS, TUNINGS, variants
from recbole_mm.run_settings import SHARED_PROTOCOL, RunSettings, SearchSettings
from recbole_mm.settings import Settings
from recbole_mm.settings_text import allowed_values
from recbole_mm.trainer.settings import StageSettings, TrainerSettings

PATH_KEYS = (
    *("data_path", "checkpoint_dir", "stage_one_checkpoint", "resume_from", "dataset_save_path"),
    *("dataloaders_save_path", "graph_dir", "log_dir", "tensorboard_dir", "picture_cache", "images"),
)
TRUST_KEYS = ("trust_pickle", "trust_plugins")
OF_THE_COMMAND = (  # nothing that a file can set
    *KEYS_OF_THE_PROCESSES, "device", "single_spec", "MODEL_TYPE", "config_files",
)  # fmt: skip
_OF_TRAINING = ("worker", "log_wandb", "save_dataset", "save_dataloaders")


# ---------------------------------------------------------------- which parts a run has


def common_settings() -> list[type[Settings]]:
    """What any run may set, those of RecBole's own models included."""
    of_parts = [entry.facts["settings"] for entry in (*ADAPTERS.entries(), *TUNINGS.entries())]
    return [RunSettings, SearchSettings, DatasetSettings, TrainerSettings, *filter(None, of_parts)]


def model_settings(name: str, backbone: str | None = None) -> list[type[Settings]]:
    """What a model or variant of ours declares, its backbone's first; nothing for another model."""
    base = variants().get(name, name)
    if base not in MODELS:
        return []
    entry = MODELS.entry(base)
    of_parts: list[type[Settings]] = []
    if issubclass(entry.target, BackboneModel) and isinstance(backbone, str) and backbone in (*MODELS, *variants()):
        of_parts += model_settings(backbone)
    if entry.facts["staged"]:
        of_parts.append(StageSettings)
    return [*of_parts, entry.target.settings_class]


def allowed_of(model: str, key: str, field: FieldInfo) -> str:
    """What a key of a model of ours may be, in words: of ``backbone`` the models it can wrap."""
    kind = MODELS.get(model)
    if key == "backbone" and issubclass(kind, BackboneModel):
        return f"one of {', '.join(kind.backbones())}"
    return allowed_values(field)


def own_settings(config: Config) -> list[type[Settings]]:
    """What the model of a run declares, its backbone's first; nothing where it is not one of ours."""
    own = model_settings(config.model)
    if not own:
        return []
    default = own[-1].default_values().get("backbone")
    return model_settings(config.model, user_settings(config).get("backbone", default))


def published_protocol(kind: type[Settings]) -> Mapping[str, Any]:
    """What the authors of a model with these settings stop training by, see :class:`ModelSettings`."""
    return kind.published if issubclass(kind, ModelSettings) else {}


# ---------------------------------------------------------------- before the model is known


def complete_sources(config: Config) -> None:
    """Import plugins and settle what files may say, once all sources are read."""
    given = user_settings(config)
    for key in TRUST_KEYS:
        if key in given and is_from_file(config, key):
            if not config.is_stored:
                raise ValueError(f"{config.setting_sources[key]}: {key} is yours to give, not a file's: --{key}=True")
            del given[key]
    for key in PATH_KEYS:
        if isinstance(given.get(key), str):
            given[key] = os.path.expanduser(given[key])
    if config.is_stored:
        for key in (*PICKLE_KEYS, *OF_THE_COMMAND, *_OF_TRAINING):  # one process opens it, trains and writes nothing
            given.pop(key, None)
    if "local_rank" in given and "nproc" not in given:  # which RecBole gives each process of several together
        raise ValueError("local_rank: is given by the run to its processes; leave it out, and set their number, nproc")
    trusted = not is_from_file(config, "plugins") or config.trusts_plugins or given.get("trust_plugins") is True
    import_plugins(given.get("plugins"), trusted, config.setting_sources.get("plugins", "a file"))


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
    shared: list[type[Settings]] = [ModelSettings, *common_settings()]
    for kind in shared:
        found |= kind.default_values()
    own = own_settings(config)
    if not own:
        del found["embedding_size"]  # RecBole's models have their own
    protocol = _protocol(config)
    if protocol != "recbole" and (own or protocol == "shared"):
        found |= SHARED_PROTOCOL
    for kind in own:
        found |= _declared_values(kind)
        found |= published_protocol(kind) if protocol == "published" else {}
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
