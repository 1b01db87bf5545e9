"""How RecBole finds us. With the room `host` the only file that knows RecBole's inside.

RecBole looks a model up as module ``recbole.model.general_recommender.<name>``, its data set and trainer as
``<Model>Dataset`` in ``recbole.data.dataset`` and ``<Model>Trainer`` in ``recbole.trainer``, and its settings as a
yaml in its own folder. All are set eagerly at import, so that plain ``run_recbole``, ``HyperTuning`` and
``load_data_and_model`` work, the last also where unpickling a checkpoint is what imports us.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from functools import cache
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import recbole.data.dataset
import recbole.data.utils
import recbole.trainer
import yaml
from recbole.config import Config
from recbole.model.abstract_recommender import AbstractRecommender
from recbole.sampler import Sampler
from recbole.utils.argument_list import dataset_arguments

import recbole_mm.model
import recbole_mm.trainer
from recbole_mm.data.dataset import MultimodalDataset
from recbole_mm.host.mend import patch_in_place
from recbole_mm.model.base import MultimodalRecommender
from recbole_mm.plugins import import_plugins
from recbole_mm.registry import MODELS, TRAINERS, Entry
from recbole_mm.trainer.staged import StagedTrainer
from recbole_mm.trainer.trainer import MultimodalTrainer

OUR_DATASET_KEYS = ("modalities", "missing_modality", "normalize_feature", "eval_history")


def properties_dir() -> Path:
    """Folder of the yaml and hyper files: inside the installed package, or beside it in a checkout."""
    inside = Path(__file__).parent / "properties"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "properties"


def model_yaml(name: str) -> Path:
    """Where the settings of a model or variant of ours are."""
    return properties_dir() / "model" / f"{name}.yaml"


def recbole_properties_dir() -> Path:
    """Folder of RecBole's own yaml files."""
    return Path(recbole.__file__).parent / "properties"


def recbole_models() -> list[str]:
    """Names of RecBole's own models."""
    return sorted(file.stem for file in (recbole_properties_dir() / "model").glob("*.yaml"))


def apply() -> None:
    """Make everything registered, now or later, known to RecBole. Called once, at import."""
    dataset_arguments.extend(key for key in OUR_DATASET_KEYS if key not in dataset_arguments)
    _import_users_plugins()
    _read_our_settings()
    _evaluate_as_configured()
    MODELS.subscribe(_publish_model)
    TRAINERS.subscribe(lambda entry: setattr(recbole.trainer, f"{entry.name}Trainer", entry.target))
    for package in (recbole_mm.model, recbole_mm.trainer):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)


def _publish_model(entry: Entry) -> None:
    """Set the model and its variants where RecBole looks for them."""
    if not issubclass(entry.target, MultimodalRecommender):
        raise ValueError(
            f"model '{entry.name}' of {entry.target.__module__} does not derive from "
            f"recbole_mm.model.base.MultimodalRecommender, whose methods the trainer calls"
        )
    for name in (entry.name, *(variant for variant, base in variants().items() if base == entry.name)):
        _publish_name(name, entry)


def _publish_name(name: str, entry: Entry) -> None:
    """Set model, data set and trainer of one name. RecBole's own models win a name; case makes no difference to it."""
    path = f"recbole.model.general_recommender.{name.lower()}"
    taken = [*recbole_models(), *(known for known in MODELS if known != name)]
    clash = next((known for known in taken if known.lower() == name.lower()), None)
    if clash is not None:
        raise ValueError(
            f"model '{name}' of {entry.target.__module__}: there is a model '{clash}' already, and RecBole finds "
            f"models by their names in lower case; rename yours"
        )
    module = ModuleType(path)
    module.__spec__ = ModuleSpec(path, loader=None)  # RecBole asks importlib.util.find_spec, which wants one
    setattr(module, name, entry.target)
    sys.modules[path] = module
    setattr(recbole.data.dataset, f"{name}Dataset", MultimodalDataset)
    if not hasattr(recbole.trainer, f"{name}Trainer"):
        setattr(recbole.trainer, f"{name}Trainer", StagedTrainer if entry.facts["staged"] else MultimodalTrainer)


@cache
def variants() -> dict[str, str]:
    """Configurations of a model that run by a name of their own: yaml files that begin with ``variant_of: MODEL``."""
    found = {}
    for file in (properties_dir() / "model").glob("*.yaml"):
        with open(file, encoding="utf-8") as lines:
            key, _, value = next(lines, "").partition(":")
        if key == "variant_of":
            found[file.stem] = value.split("#")[0].strip()
    return found


def _import_users_plugins() -> None:
    """Import what the key ``plugins`` names as soon as a Config has read its sources, before it looks for its model."""
    merge = Config._merge_external_config_dict

    def merge_and_import(self):
        merge(self)
        import_plugins(self.external_config_dict.get("plugins"))

    Config._merge_external_config_dict = merge_and_import


def _read_our_settings() -> None:
    """Read our yaml files between RecBole's, keeping its order: overall < model < data set < user."""
    read = Config._update_internal_config_dict
    own = properties_dir()

    def read_with_ours(self, file):
        config_dict = read(self, file)
        ours = {"overall.yaml": ["overall", *_model_yamls(self)], "sample.yaml": [f"dataset/{self.dataset}"]}
        for name in ours.get(Path(file).name, ()):
            if (own / f"{name}.yaml").is_file():
                read(self, str(own / f"{name}.yaml"))
        return config_dict

    Config._update_internal_config_dict = read_with_ours


def _model_yamls(config: Config) -> list[str]:
    """Names of the yaml files of a model, each overriding those before: its backbone's, its base's, its own."""
    base = variants().get(config.model)
    own = [f"model/{name}" for name in (base, config.model) if name]
    entry = MODELS.entry(base or config.model) if (base or config.model) in MODELS else None
    if entry is None or not entry.facts["wraps_backbone"]:
        return own
    settings = {}
    for name in own:
        settings.update(yaml.safe_load((properties_dir() / f"{name}.yaml").read_text(encoding="utf-8")))
    backbone = config.external_config_dict.get("backbone", settings["backbone"])
    return [f"model/{backbone}", *own]


def _evaluate_as_configured() -> None:
    """Apply `eval_history` and `eval_batch_users` at the one place that sees configuration, data and samplers."""

    def create_samplers(config, dataset, built_datasets):
        samplers = create(config, dataset, built_datasets)
        _set_eval_batch_size(config, dataset)
        if _masks_training_items_only(config) and samplers[2] is not None:
            train, _, test = built_datasets  # the test items stay in: sampled negatives must not be among them
            samplers[2].used_ids = Sampler(["train", "test"], [train, test]).used_ids["test"]
        return samplers

    create = patch_in_place(recbole.data.utils.create_samplers, create_samplers)


def _set_eval_batch_size(config: Config, dataset) -> None:
    """RecBole's `eval_batch_size` counts scores: its default of 4096 is one user a batch, ours is a number of users."""
    scores_all_items = config.model_class.full_sort_predict is not AbstractRecommender.full_sort_predict
    users = config["eval_batch_users"]  # a checkpoint of RecBole without us has none of our keys
    if users and scores_all_items and "eval_batch_size" not in config.external_config_dict:
        config["eval_batch_size"] = users * dataset.item_num


def _masks_training_items_only(config: Config) -> bool:
    """With ``eval_history: train`` validation items stay candidates at test, as in this field's published tables."""
    history = config["eval_history"] or "train_valid"
    if history not in ("train_valid", "train"):
        raise ValueError(f"eval_history: '{history}' is unknown; choose train_valid (RecBole's) or train")
    if history == "train" and config["repeatable"]:
        raise ValueError("eval_history: train masks items of the training set, repeatable: True masks none; set one")
    return history == "train"
