"""Where an interrupted run goes on, and how a trainer takes that state on."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import numpy as np
from recbole.config import Config
from recbole.trainer import Trainer
from torch import Generator, Tensor
from torch.optim import Optimizer

from recbole_mm.io.errors import one_line
from recbole_mm.io.reading import regular_file
from recbole_mm.io.run_files import RunFiles
from recbole_mm.model.recommender import Recommender
from recbole_mm.trainer.checkpoint import (
    OF_THE_RUN,
    has_safe_pair,
    read_pickle,
    read_safe_pair,
    settings,
    write_checkpoint,
)
from recbole_mm.trainer.description import read_description
from recbole_mm.trainer.random_state import set_random_state
from recbole_mm.trainer.training_state import (
    ResumePoint,
    StateFacts,
    TrainingState,
    newest_facts,
    newest_state,
    parse_state,
)


def find_resume_point(file: str | Path, trust_pickle: bool) -> ResumePoint:
    """The state after the last epoch of the run that `file`, any of its files, belongs to.

    Args:
        file: need not be there itself where another of its run is.
        trust_pickle: whether a `.pth` without a safe state may be unpickled, which runs the code in it.

    Raises:
        FileNotFoundError: there is no state of that run.
        ValueError: it is damaged, a pickle that is not trusted, or not of recbole_mm.
    """
    files = RunFiles.of(file)
    found = find_state(file, trust_pickle)
    point = None if found is None else newest_state(files)
    return point or ResumePoint(files, _read_pickled_state(files.pickle), is_best=True)


def find_state(file: str | Path, trust_pickle: bool) -> tuple[Path, StateFacts] | None:
    """The file that :func:`find_resume_point` would read, and what its head tells; None of a trusted pickle.

    Arguments and errors as of that.
    """
    files = RunFiles.of(file)
    try:
        found = newest_facts(files)
        if found is None and Path(file).exists():
            regular_file(file)
    except (OSError, ValueError) as error:
        raise type(error)(f"resume_from: {error}") from error
    if found is None:
        _check_pickle(files, file, trust_pickle)
    return found


def check_same_run(facts: StateFacts, model: str, learner: str, file: str | Path) -> None:
    """Raise ValueError where a state is of another model or optimizer than a run's."""
    if facts.model.lower() != model.lower():
        raise ValueError(f"resume_from: checkpoint {file} is of model {facts.model}, this run is of {model}")
    if facts.learner is not None and facts.learner.lower() != learner.lower():
        raise ValueError(
            f"resume_from: checkpoint {file} was trained with learner {facts.learner}, this run has {learner}, whose "
            f"state is another; set learner: {facts.learner}"
        )


def check_epochs(facts: StateFacts, epochs: int, file: str | Path) -> None:
    """Raise ValueError where a state comes after more epochs than a run is to train, in the state's stage."""
    if facts.epoch >= epochs:
        raise ValueError(
            f"resume_from: checkpoint {file} has trained {facts.epoch + 1} epochs, and `epochs` is {epochs}; set more"
        )


# What a run may change as it goes on: how far, what is measured, where things lie, and what memory alone asks for.
_MAY_CHANGE = {
    *OF_THE_RUN,
    *"epochs stopping_step metrics topk eval_batch_size protocol plugins device encoding".split(),
    *"loss_decimal_place log_dir tensorboard_dir stage_one_checkpoint trust_plugins".split(),
    *"micro_batch_size accumulation_steps gradient_checkpointing mixed_precision enable_amp enable_scaler".split(),
    *"images picture_cache picture_workers picture_memory kept_items".split(),  # pictures have their digest
    *(f"stage_{stage}_{key}" for stage in ("one", "two") for key in ("epochs", "stopping_step")),
}


def check_same_settings(files: RunFiles, config: Config, file: str | Path) -> None:
    """Raise ValueError where a run that goes on has other settings than it was begun with.

    The state has the learning rate, and the epochs before were trained and chosen with the others: a new value would
    be passed over, or mixed with the old one.

    Args:
        files: of the run; one without a description, which was killed before its first best epoch, passes.
        config: of this run.
        file: that the user named.
    """
    if not files.description.exists():
        return
    saved, current = read_description(files.description).settings, settings(config)
    for key in sorted(saved.keys() & current.keys() - _MAY_CHANGE):
        if _plain(saved[key]) != _plain(current[key]):
            raise ValueError(
                f"resume_from: checkpoint {file} was trained with {key}: {saved[key]!r}, this run has "
                f"{current[key]!r}; set it as it was, or begin another run"
            )


def _plain(value: Any) -> Any:
    """Without the difference of lists and tuples, which JSON has not."""
    return [_plain(element) for element in value] if isinstance(value, (list, tuple)) else value


def _check_pickle(files: RunFiles, file: str | Path, trust_pickle: bool) -> None:
    """Raise where a run without a safe state cannot be resumed from its `.pth`."""
    if not files.pickle.exists():
        reason = "does not exist" if not Path(file).exists() else f"has no {files.resume.name} beside it; restore it"
        earlier = files.state()
        if earlier is not None:
            reason += f"; set {earlier}, of the stage that its run was in"
        raise FileNotFoundError(f"resume_from: checkpoint {file} {reason}")
    if not trust_pickle:
        raise ValueError(
            f"resume_from: checkpoint {file} has no {files.resume.name} beside it; restore that file, or set "
            "trust_pickle: True to read the .pth, a pickle that runs the code in it, if you trust where it came from"
        )


def _read_pickled_state(path: Path) -> TrainingState:
    content = read_pickle(path)
    if "random_state" not in content:
        raise ValueError(f"checkpoint {path} was not written by recbole_mm's trainer; it cannot resume exactly")
    config = content.pop("config")
    result = content["best_valid_result"]
    content |= {
        "write_id": content.get("write_id") or secrets.token_hex(16),
        "model": config["model"],
        "dataset": config["dataset"],
        "best_valid_score": float(content["best_valid_score"]),
        "best_valid_result": None if result is None else {metric: float(value) for metric, value in result.items()},
    }
    return parse_state(content, path, TrainingState)


def best_weights(point: ResumePoint) -> dict[str, Tensor] | None:
    """Weights of the best epoch of a run that goes on; None where there is none yet.

    Raises FileNotFoundError or ValueError where the state comes after a best epoch whose checkpoint is not there.
    """
    state, files = point.state, point.files
    if point.is_best or state.write_id is None:
        return state.state_dict if point.is_best else None
    best_is_there(files, files.last, state)
    best = read_safe_pair(files.description if files.description.exists() else files.weights)
    if best.write_id != state.write_id:
        raise ValueError(
            f"resume_from: {files.last} is of another run than {files.weights.name}; delete the one that is not of "
            "the run to go on with"
        )
    return best.weights


def best_is_there(files: RunFiles, state: Path, facts: StateFacts) -> None:
    """Raise FileNotFoundError where a run's newest state comes after a best epoch whose checkpoint is not there."""
    if state == files.last and facts.write_id is not None and not has_safe_pair(files.pickle):
        raise FileNotFoundError(
            f"resume_from: {files.last} comes after the best epoch, whose {files.weights.name} and "
            f"{files.description.name} are not beside it; restore them"
        )


def complete_best(point: ResumePoint, config: Config) -> None:
    """Write the best epoch's checkpoint again where the run was killed between its files."""
    if not point.is_best:
        return
    files, written = point.files, None
    if all(file.exists() for file in (files.pickle, files.weights, files.description, files.resume)):
        written = read_safe_pair(files.pickle).write_id
    if written is None or written != point.state.write_id:
        write_checkpoint(files, config, point.state)


_KINDS = ((bool, int, float, np.generic), str, (list, tuple), dict, Tensor, np.ndarray)


def load_other_parameter(model: Recommender, values: dict[str, Any] | None, checkpoint: str) -> None:
    """Give the model what it keeps beside its weights; raises ValueError where that is not what it has."""
    loaded = {}
    for name, value in (values or {}).items():
        current = getattr(model, name, None)
        kind = next((kind for kind in _KINDS if isinstance(current, kind)), object)
        if name not in model.other_parameter_name or not isinstance(value, kind):
            raise ValueError(f"{checkpoint} is damaged (other_parameter.{name}: {value!r}); restore the file")
        loaded[name] = value.to(current.device) if isinstance(value, Tensor) and isinstance(current, Tensor) else value
    model.load_other_parameter(loaded)


def load_training(trainer: Trainer, state: TrainingState, checkpoint: str) -> None:
    """Give the trainer's model, optimizer and schedule their state; raises ValueError where it does not fit."""
    try:
        trainer.model.load_state_dict(state.state_dict)
        _check_learner(trainer.optimizer, state.optimizer)
        trainer.optimizer.load_state_dict(state.optimizer)
        if trainer.scheduler is not None and state.scheduler is not None:
            trainer.scheduler.load_state_dict(state.scheduler)
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(
            f"{checkpoint} does not fit this run: it was trained on data set '{state.dataset}' or with other settings "
            f"({one_line(error)})"
        ) from error
    load_other_parameter(trainer.model, state.other_parameter, checkpoint)


def _check_learner(optimizer: Optimizer, state: dict[str, Any]) -> None:
    """torch takes the state of any optimizer for that of another whose groups are as large."""
    own, saved = ({*groups[0]} - {"initial_lr"} for groups in (optimizer.param_groups, state["param_groups"]))
    if own != saved:
        raise ValueError(f"its optimizer is another than {type(optimizer).__name__}; set `learner` as it was")


def load_random_state(state: TrainingState, generator: Generator, checkpoint: str) -> None:
    """Restore all random generators, that of the training data's loader too; raises ValueError for other values."""
    try:
        set_random_state(state.random_state["global"])
        generator.set_state(state.random_state["loader"].cpu())
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"{checkpoint} is damaged (random_state: {one_line(error)}); restore the file") from error
