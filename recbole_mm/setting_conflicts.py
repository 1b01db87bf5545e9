"""Settings that each are right and together cannot be, found before data are loaded."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from recbole.config import Config
from recbole.evaluator import metric_types, smaller_metrics
from recbole.utils import EvaluatorType, InputType, ModelType

from recbole_mm.data.field_checks import FILTERS
from recbole_mm.host.config import (
    all_settings,
    default_settings,
    is_from_command_line,
    is_from_file,
    user_settings,
)
from recbole_mm.io.names import closest
from recbole_mm.model.adapters import no_place_for_adapter
from recbole_mm.model.backbone_model import BackboneModel
from recbole_mm.model.base import MultimodalRecommender
from recbole_mm.model.recommender import Recommender
from recbole_mm.nn.feature_adapter import adapter_class
from recbole_mm.run_settings import evaluation_modes
from recbole_mm.setting_rules import OF_THE_COMMAND


def check_conflicts(config: Config) -> None:
    """Raise ValueError, one line, for settings of a run that do not go together."""
    final = all_settings(config)
    if not config.is_stored:
        _check_sources(config)
        _check_direction(config)
        _check_columns(final)
    _check_resumes(config)
    _check_adapter(config)
    _check_metrics(final["metrics"])
    _check_mode(final)
    _check_cold_items(config)
    _check_valid_metric(final)
    _check_negative_items(config)
    _check_split_data(config)
    _check_of_sequences(config)
    if final["load_col"] is not None and not final["load_col"].get("inter"):
        raise ValueError("load_col: nothing is loaded of the interactions; add inter: [user_id, item_id]")
    if final["log_wandb"] and find_spec("wandb") is None:
        raise ValueError("log_wandb: Weights & Biases is not installed; type: pip install wandb")


def _check_sources(config: Config) -> None:
    if is_from_command_line(config, "device"):
        raise ValueError("device: a run chooses it by --use_gpu and --gpu_id; leave it out")
    if "config_file" in user_settings(config):  # which RecBole lists among its keys
        raise ValueError("config_file: nothing reads it; give --config_files, or in Python config_file_list")
    if is_from_command_line(config, "single_spec"):
        raise ValueError("single_spec: the command knows how many processes there are; leave it out, and give --nproc")
    if is_from_command_line(config, "local_rank"):
        raise ValueError("local_rank: the command gives each of its processes its own; leave it out, and give --nproc")
    for key in OF_THE_COMMAND:
        if key in user_settings(config) and is_from_file(config, key):
            raise ValueError(
                f"{config.setting_sources[key]}: {key} is nothing that a file can set; leave it out, or give the "
                f"command its option (--config_files, --nproc, --use_gpu, --gpu_id)"
            )


def _check_resumes(config: Config) -> None:
    if config["resume_from"] and not issubclass(config.model_class, Recommender):
        raise ValueError(
            f"resume_from: {config.model} is RecBole's own model, whose training does not go on where it ended; leave "
            f"the key out"
        )


def _check_adapter(config: Config) -> None:
    adapter, model = config["feature_adapter"], config.model_class
    if adapter_class(adapter) is None and config["adapter_learning_rate"] is not None:
        raise ValueError(
            f"adapter_learning_rate: {config['adapter_learning_rate']} has nothing to train in this run, which has no "
            f"feature_adapter; set one, or leave the key out"
        )
    if adapter_class(adapter) is None and config["adapter_projections"] == "frozen":
        raise ValueError(
            "adapter_projections: frozen leaves the features to a feature_adapter, and this run has none; set one, or "
            "leave the key at trained"
        )
    if adapter_class(adapter) is None or issubclass(model, (MultimodalRecommender, BackboneModel)):
        return
    if issubclass(model, Recommender):
        raise ValueError(no_place_for_adapter(config.model, adapter))
    raise ValueError(
        f"feature_adapter: {config.model} is RecBole's own model, which reads no features; leave the key out"
    )


# ---------------------------------------------------------------- evaluation


def _check_metrics(metrics: list[str]) -> None:
    """RecBole ends with a traceback where metrics of rankings and of values stand together."""
    for name in metrics:
        if name.lower() not in metric_types:
            known = closest(name, metric_types) or f"; there are {', '.join(sorted(metric_types))}"
            raise ValueError(f"metrics: there is no metric '{name}'{known}")
    if len({metric_types[name.lower()] for name in metrics}) > 1:
        raise ValueError(f"metrics: {metrics} are of rankings and of values, which RecBole cannot measure together")


def _check_mode(final: Mapping[str, Any]) -> None:
    """Lists of items cannot be ranked among labelled rows alone."""
    mode = final["eval_args"].get("mode", "full")
    modes = evaluation_modes(final)
    ranks = metric_types[final["metrics"][0].lower()] == EvaluatorType.RANKING
    if not ranks and "full" in modes:
        raise ValueError(
            f"metrics: {final['metrics']} are of values, and eval_args: mode: {mode} ranks items; set "
            f"eval_args: {{mode: labeled}}, or other metrics"
        )
    if ranks and "labeled" in modes:
        raise ValueError(
            f"eval_args: mode: labeled measures values such as AUC, and metrics: {final['metrics']} are of rankings; "
            f"set another mode, such as full, or other metrics"
        )


def _check_cold_items(config: Config) -> None:
    """Candidate sets are of lists of all items."""
    share, modes = config["cold_items"], set(evaluation_modes(config))
    if share is not None and modes != {"full"}:
        raise ValueError(
            f"cold_items: {share} ranks all items, and eval_args: mode: {', '.join(sorted(modes))} does not; set "
            "mode: full, or leave cold_items out"
        )
    if share is not None and config["MODEL_TYPE"] == ModelType.SEQUENTIAL:
        raise ValueError(f"cold_items: {config.model} is a sequential model, which has no such split; leave it out")


def _check_valid_metric(final: Mapping[str, Any]) -> None:
    """Refuse to choose by a metric that is not measured; RecBole finds it after an epoch."""
    if not final["eval_step"]:
        return
    metric, _, k = final["valid_metric"].partition("@")
    measured = [name.lower() for name in final["metrics"]]
    is_ranking = metric_types.get(metric.lower()) == EvaluatorType.RANKING
    has_length = k in map(str, final["topk"]) if is_ranking else not k
    if metric.lower() not in measured or not has_length:
        lengths = f" at one of `topk` {final['topk']}, such as {metric}@{final['topk'][0]}," if is_ranking else ""
        raise ValueError(
            f"valid_metric: {final['valid_metric']} is not measured; set it to one of `metrics` {final['metrics']}"
            f"{lengths} or add it there"
        )


def _check_direction(config: Config) -> None:
    """RecBole sets ``valid_metric_bigger`` itself, whatever it is set to."""
    metric = config["valid_metric"].partition("@")[0]
    is_bigger = metric.lower() not in smaller_metrics
    if user_settings(config).get("valid_metric_bigger", is_bigger) is not is_bigger:
        better = "more" if is_bigger else "less"
        raise ValueError(
            f"valid_metric_bigger: {not is_bigger} is passed over, as {better} {metric} is better; leave the key out"
        )


# ---------------------------------------------------------------- data


def _check_columns(final: Mapping[str, Any]) -> None:
    """What RecBole makes of a column would be written over the ids."""
    for key in ("LABEL_FIELD", "RATING_FIELD", "TIME_FIELD"):
        for of_ids in ("USER_ID_FIELD", "ITEM_ID_FIELD"):
            if final[key] == final[of_ids]:
                raise ValueError(f"{key} and {of_ids} are both {final[key]!r}; set one to another column")


def _check_negative_items(config: Config) -> None:
    if not default_settings(config)["train_neg_sample_args"]:
        return  # a model that draws none
    if not issubclass(config.model_class, Recommender):
        return  # some of RecBole's take none, whatever their input type says; the others end in their first step
    sampling = config["train_neg_sample_args"]
    samples = sampling and sampling.get("distribution", "uniform") not in (None, "none")
    if not samples and getattr(config.model_class, "input_type", None) == InputType.PAIRWISE:
        raise ValueError(
            f"train_neg_sample_args: {config.model} trains on pairs of a positive and a negative item, and none is "
            f"drawn; set a distribution, such as {{'distribution': 'uniform', 'sample_num': 1}}"
        )


def _check_split_data(config: Config) -> None:
    """RecBole passes filters over where data are split already."""
    if not config["benchmark_filename"]:
        return
    given = user_settings(config)
    for key, default in FILTERS.items():
        if key in given and given[key] not in (None, default):
            raise ValueError(
                f"{key}: {given[key]} has no effect on data that are split already (benchmark_filename); filter before "
                f"they are split, or leave it out"
            )


def _check_of_sequences(config: Config) -> None:
    if config["transform"] and config["MODEL_TYPE"] != ModelType.SEQUENTIAL:
        raise ValueError(
            f"transform: {config['transform']} is of sequential models, and {config.model} is none; leave it out"
        )
