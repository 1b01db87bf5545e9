"""How RecBole finds us. With the room `host` the only file that knows RecBole's inside.

RecBole looks a model up as module ``recbole.model.general_recommender.<name>``, its data set and trainer as
``<Model>Dataset`` in ``recbole.data.dataset`` and ``<Model>Trainer`` in ``recbole.trainer``, and its settings as a
yaml in its own folder. All are set eagerly at import, so that plain ``run_recbole``, ``HyperTuning`` and
``load_data_and_model`` work, the last also where unpickling a checkpoint is what imports us.
"""

from __future__ import annotations

import logging
import math
import sys
from functools import cache
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import recbole.data.dataset
import recbole.data.utils
import recbole.trainer
import recbole.utils
from recbole.config import Config
from recbole.data.dataset import Dataset
from recbole.model.abstract_recommender import AbstractRecommender
from recbole.sampler import Sampler

import recbole_mm.encoder
import recbole_mm.model
import recbole_mm.trainer
from recbole_mm.data.dataset import MultimodalDataset
from recbole_mm.data.default_data import DEFAULT_DATASET
from recbole_mm.data.field_checks import check_fields, check_files_there, nothing_left, reads_labels
from recbole_mm.data.folder_checks import check_data
from recbole_mm.data.label_checks import check_are_read
from recbole_mm.extraction.tuned_contents import TunedContents
from recbole_mm.host import config as host_config
from recbole_mm.host import hyper_files, saved_data, splits
from recbole_mm.host.cold_items import draw_warm_items
from recbole_mm.host.config import user_settings
from recbole_mm.host.datasets import add_dataset_keys
from recbole_mm.host.mend import patch_in_place
from recbole_mm.host.negative_items import check_negative_items
from recbole_mm.io.names import closest
from recbole_mm.io.yaml_files import parse_yaml
from recbole_mm.model.closed_form import ClosedFormRecommender
from recbole_mm.model.ptmrec import PTMRec
from recbole_mm.model.recommender import Recommender
from recbole_mm.parts import discover
from recbole_mm.registry import MODELS, TRAINERS, Entry, RegistryError, variants
from recbole_mm.search_space import read_searchable, recbole_form
from recbole_mm.setting_checks import check, check_keys_of_plugin, check_settings_of_model
from recbole_mm.setting_rules import complete_sources, defaults
from recbole_mm.trainer.closed_form import ClosedFormTrainer
from recbole_mm.trainer.staged import StagedTrainer
from recbole_mm.trainer.trainer import MultimodalTrainer

OUR_DATASET_KEYS = (
    "modalities", "missing_modality", "center_feature", "standardize_feature", "normalize_feature", "knock_out",
    "eval_history", "swap_valid_test", "cold_items", "cold_seed", "missing_share", "missing_seed", "missing_together",
    "missing_k", "missing_steps",
)  # fmt: skip


def recbole_properties_dir() -> Path:
    """Folder of RecBole's own yaml files."""
    return Path(recbole.__file__).parent / "properties"


def recbole_models() -> list[str]:
    """Names of RecBole's own models."""
    return sorted(file.stem for file in (recbole_properties_dir() / "model").glob("*.yaml"))


def recboles_downloads() -> set[str]:
    """Names of the data sets that RecBole downloads where they are asked for and not there."""
    return set(parse_yaml((recbole_properties_dir() / "dataset" / "url.yaml").read_text(encoding="utf-8")) or ())


@cache
def apply() -> None:
    """Make everything registered, now or later, known to RecBole. Called once, at import."""
    add_dataset_keys(OUR_DATASET_KEYS)
    host_config.apply(host_config.Hooks(complete_sources, defaults, check))
    saved_data.apply()
    hyper_files.apply(lambda file: recbole_form(read_searchable(file)))
    _name_unknown_models()
    _check_data()
    splits.apply()
    _evaluate_as_configured()
    _count_no_flops()
    MODELS.subscribe(_publish_model)
    TRAINERS.subscribe(lambda entry: setattr(recbole.trainer, f"{entry.name}Trainer", entry.target))
    for package in (recbole_mm.model, recbole_mm.trainer, recbole_mm.encoder):
        discover(package)
    PTMRec.contents_class = TunedContents


def _publish_model(entry: Entry) -> None:
    """Set the model and its variants where RecBole looks for them."""
    check_settings_of_model(entry)
    check_keys_of_plugin(entry)
    for name in entry.names:
        _publish_name(name, entry)


def _publish_name(name: str, entry: Entry) -> None:
    """Set model, data set and trainer of one name. RecBole's own models win a name; case makes no difference to it."""
    path = f"recbole.model.general_recommender.{name.lower()}"
    clash = next((known for known in recbole_models() if known.lower() == name.lower()), None)
    if clash is not None:
        raise RegistryError(
            f"model '{name}' of {entry.target.__module__}: the model '{clash}' is there already, RecBole's own, which "
            f"finds models by their names in lower case; rename yours"
        )
    module = ModuleType(path)
    module.__spec__ = ModuleSpec(path, loader=None)  # RecBole asks importlib.util.find_spec, which wants one
    setattr(module, name, entry.target)
    sys.modules[path] = module
    setattr(recbole.data.dataset, f"{name}Dataset", MultimodalDataset)
    if not hasattr(recbole.trainer, f"{name}Trainer"):
        setattr(recbole.trainer, f"{name}Trainer", _usual_trainer(entry))


def _usual_trainer(entry: Entry) -> type[MultimodalTrainer]:
    """The trainer of a model that has none of its own."""
    if issubclass(entry.target, ClosedFormRecommender):
        return ClosedFormTrainer
    return StagedTrainer if entry.facts["staged"] else MultimodalTrainer


def _name_unknown_models() -> None:
    """RecBole ends with "No module named 'lightgbm'" where it finds no model of a name."""

    def get_model(model_name: str) -> Any:
        try:
            return get(model_name)
        except (ValueError, ImportError, AttributeError, TypeError) as error:
            check_model(model_name)
            if isinstance(error, ModuleNotFoundError):  # of lightgbm and xgboost, which RecBole does not install
                raise ValueError(
                    f"model {model_name} needs the package {error.name}; type: pip install {error.name}"
                ) from error
            raise

    get = patch_in_place(recbole.utils.get_model, get_model)


def _check_data() -> None:
    """Before a data set reads its files, right after, and when it has filtered them, whosever model it is for."""
    kind = recbole.data.dataset.Dataset

    def load_data(dataset: Any, *arguments: Any) -> None:
        folder = Path(dataset.dataset_path)
        if not folder.is_dir():
            made = {DEFAULT_DATASET} if isinstance(dataset, MultimodalDataset) else set()
            check_data(dataset.dataset_name, folder.parent, recboles_downloads() | made)
        check_files_there(dataset)
        load(dataset, *arguments)

    def init_alias(dataset: Any) -> None:
        check_fields(dataset)
        initialise(dataset)

    def reset_index(dataset: Any) -> None:
        if any(getattr(dataset, name).empty for name in dataset.feat_name_list):
            raise ValueError(nothing_left(dataset.config))
        reset(dataset)

    def set_label_by_threshold(dataset: Any) -> None:
        check_are_read(dataset, reads_labels(dataset.config))
        set_label(dataset)

    load = patch_in_place(kind._load_data, load_data)
    initialise = patch_in_place(kind._init_alias, init_alias)
    reset = patch_in_place(kind._reset_index, reset_index)
    set_label = patch_in_place(kind._set_label_by_threshold, set_label_by_threshold)


def check_model(name: str) -> None:
    """Raise ValueError listing the models there are, and the closest name, if `name` is none of them."""
    names = sorted({*MODELS, *variants()})
    known = {*names, *recbole_models()}
    if name not in known:
        raise ValueError(
            f"unknown model '{name}'{closest(str(name), known)}. Multimodal models: {', '.join(names)}. "
            f"RecBole's: {', '.join(recbole_models())}"
        )


def _evaluate_as_configured() -> None:
    """Apply `eval_history` and `eval_batch_users` at the one place that sees configuration, data and samplers."""

    def create_samplers(config: Config, dataset: Dataset, built_datasets: Any) -> Any:
        check_negative_items(config, built_datasets)
        samplers = create(config, dataset, built_datasets)
        draw_warm_items(config, samplers[0], built_datasets[0])
        _set_eval_batch_size(config, dataset)
        if not issubclass(config.model_class, ClosedFormRecommender):
            split = "the test split, which swap_valid_test has for" if config["swap_valid_test"] else ""
            logging.getLogger(__name__).info(
                "The best epoch is chosen by %s on %s; training ends after %d validations in a row that are worse",
                config["valid_metric"],
                f"{split} validation data".strip(),
                config["stopping_step"] + 1,
            )
        if _masks_training_items_only(config) and samplers[2] is not None:
            train, _, test = built_datasets  # the test items stay in: sampled negatives must not be among them
            samplers[2].used_ids = Sampler(["train", "test"], [train, test]).used_ids["test"]
        return samplers

    create = patch_in_place(recbole.data.utils.create_samplers, create_samplers)


def _count_no_flops() -> None:
    """RecBole's log says ``FLOPs: nan`` of our models: its counter knows no sparse product, and said 0.0 of FREEDOM.

    Half a processor second of a start at the size of Amazon Baby, as it copies the model and encodes all items once.
    """

    def get_flops(model: Any, *arguments: Any, **options: Any) -> float:
        return math.nan if isinstance(model, Recommender) else count(model, *arguments, **options)

    count = patch_in_place(recbole.utils.get_flops, get_flops)


def _set_eval_batch_size(config: Config, dataset: Dataset) -> None:
    """RecBole's `eval_batch_size` counts scores: its default of 4096 is one user a batch, ours is a number of users."""
    scores_all_items = config.model_class.full_sort_predict is not AbstractRecommender.full_sort_predict
    users = config["eval_batch_users"]  # a checkpoint of RecBole without us has none of our keys
    if users and scores_all_items and "eval_batch_size" not in user_settings(config):
        config["eval_batch_size"] = users * dataset.item_num


def _masks_training_items_only(config: Config) -> bool:
    """With ``eval_history: train`` validation items stay candidates at test, as in this field's published tables."""
    history = config["eval_history"] or "train_valid"
    if history == "train" and config["repeatable"]:
        raise ValueError("eval_history: train masks items of the training set, repeatable: True masks none; set one")
    return history == "train"
