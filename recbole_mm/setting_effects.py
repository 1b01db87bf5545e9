"""Keys that are set where nothing of the run reads them: they change nothing, which is said in a line each."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from recbole.config import Config

from recbole_mm.host.config import all_settings, user_settings
from recbole_mm.model.closed_form import ClosedFormRecommender
from recbole_mm.model.recommender import Recommender
from recbole_mm.registry import ADAPTERS, TUNINGS
from recbole_mm.setting_conditions import why_without_effect
from recbole_mm.setting_rules import common_settings, own_settings
from recbole_mm.settings import Settings
from recbole_mm.trainer.settings import StageSettings, TrainerSettings

_OF_TRAINING = (  # RecBole's keys, and ours, that a model without parameters has no use for
    *("learning_rate", "learner", "weight_decay", "clip_grad_norm", "epochs", "train_batch_size", "stopping_step"),
    *("eval_step", "enable_amp", "enable_scaler", "train_neg_sample_args", "embedding_size"),
    *("lr_decay", "matmul_precision"),
)


def warn_without_effect(config: Config, final: Mapping[str, Any]) -> None:
    """Warn of each key that a user set and that nothing of the run reads, with what would have it act."""
    given = user_settings(config)
    for line in [*_of_other_parts(config, given, final), *_of_split_data(given, final)]:
        warn_once(line)
    for line in without_effect(config, given, {key: [value] for key, value in final.items()}):
        warn_once(line)


def warn_of_search(config: Config, grid: Mapping[str, Sequence[Any]], place: str) -> None:
    """Warn of each key that a search varies and that acts with none of its settings: all its values are one.

    Args:
        config: of what is searched.
        grid: values by key; of a range some examples.
        place: where the search stands, for the message.
    """
    lines = _of_other_parts(config, grid, all_settings(config)) + without_effect(config, grid, _tried(config, grid))
    for line in lines:
        warn_once(f"{place}: {line}")


def acts(config: Config, key: str, grid: Mapping[str, Sequence[Any]]) -> bool:
    """Whether a key that a search varies does something in some of its settings, as far as its declaration says.

    Args:
        config: of what is searched.
        key: of `grid`.
        grid: as of :func:`warn_of_search`.
    """
    return not without_effect(config, [key], _tried(config, grid))


def _tried(config: Config, grid: Mapping[str, Sequence[Any]]) -> dict[str, Sequence[Any]]:
    """All values that each key of a search's trials may have."""
    return {**{key: [value] for key, value in all_settings(config).items()}, **grid}


def without_effect(config: Config, keys: Iterable[str], values: Mapping[str, Sequence[Any]]) -> list[str]:
    """A line for each of `keys` whose declared conditions (:mod:`recbole_mm.setting_conditions`) no value meets."""
    kinds = [*common_settings(), *own_settings(config)]
    found = ((key, why_without_effect(kinds, key, values)) for key in keys)
    return [
        f"{key} changes nothing where {need.key} is {value}; set {need.key} to {need.words}, or leave {key} out"
        for key, (need, value) in ((key, why) for key, why in found if why is not None)
    ]


def _of_split_data(given: Mapping[str, Any], final: Mapping[str, Any]) -> list[str]:
    """What splits interactions, where files have them split already."""
    asked = [key for key in ("split", "order", "group_by") if key in (given.get("eval_args") or ())]
    if not asked or not final["benchmark_filename"]:
        return []
    return [
        f"eval_args: {', '.join(asked)} changes nothing on data that are split already (benchmark_filename); leave it "
        "out, or split one .inter"
    ]


def _of_other_parts(config: Config, given: Iterable[str], final: Mapping[str, Any]) -> list[str]:
    """Keys of another trainer, adapter, way to tune or stage than this run has, and of training where there is none."""
    given = set(given)
    lines = _of_training(config, given)
    for registry, choice in ((ADAPTERS, "feature_adapter"), (TUNINGS, "peft")):
        keys = {entry.name: set((entry.facts["settings"] or Settings).model_fields) for entry in registry.entries()}
        chosen = final.get(choice)
        for key in sorted(given):
            owners = [name for name in keys if key in keys[name]]
            if owners and chosen not in owners:
                owner, has = " or ".join(owners), f"{choice}: {chosen}" if chosen else f"no {choice}"
                lines.append(f"{key} is a key of {choice}: {owner}, and this run has {has}; it changes nothing")
    return lines + _of_stages(config, given, final)


def _of_training(config: Config, given: set[str]) -> list[str]:
    if not issubclass(config.model_class, Recommender):
        return [
            f"{key} is a key of our trainer, and {config.model} has RecBole's; it changes nothing"
            for key in sorted(TrainerSettings.model_fields.keys() & given)
        ]
    if not issubclass(config.model_class, ClosedFormRecommender):
        return []
    return [
        f"{key} is a key of training, and {config.model} is solved in closed form; it changes nothing"
        for key in _OF_TRAINING
        if key in given
    ]


def _of_stages(config: Config, given: set[str], final: Mapping[str, Any]) -> list[str]:
    """Keys of a stage that a model with known stages does not go through."""
    stages_for = getattr(config.model_class, "stages_for", None)
    if stages_for is None:
        return []
    stages = stages_for(config.model_class.settings_class.read(final))
    return [
        f"{key} is a key of a stage that this run has not: it trains stage {' and '.join(stages)}; it changes nothing"
        for key in sorted(given & StageSettings.model_fields.keys())
        if not any(key.startswith(f"stage_{stage}_") for stage in stages)
    ]


@cache
def warn_once(message: str) -> None:
    """Once in a process, whose runs and searches make several Configs of the same settings."""
    logging.getLogger(__name__).warning("%s", message)
