"""Around each of RecBole's training loops: room on the disk before, a way to go on after Ctrl-C, no thread left."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any

from recbole.config import Config
from recbole.data.dataloader.abstract_dataloader import AbstractDataLoader
from recbole.evaluator import metric_types
from recbole.trainer.trainer import AbstractTrainer, NCLTrainer, PretrainTrainer, Trainer
from recbole.utils import EvaluatorType
from safetensors import SafetensorError

from recbole_mm.host.divergence import EpochWatch, ScoresNotFinite, describe
from recbole_mm.host.mend import patch_in_place
from recbole_mm.io.files import free_bytes
from recbole_mm.io.run_files import RunFiles

_MEGABYTE = 1e6
_OPTIMIZER_STATES = {"sgd": 0, "adagrad": 1, "rmsprop": 1}  # of each weight; two with Adam and its like
_WRITE_ERRORS = ("PytorchStreamWriter", "inline_container", "I/O error")
note_file: Path | None = None  # where a child process leaves word of its checkpoint for its parent


@cache
def apply() -> None:
    """Wrap the loops, trainer/trainer.py:399, 773 and 1294. Called once, at import."""

    def make_trainer(trainer: AbstractTrainer, *arguments: Any, **options: Any) -> None:
        make(trainer, *arguments, **options)
        show_to_model(trainer)

    make = patch_in_place(AbstractTrainer.__init__, make_trainer)
    for loop in (Trainer.fit, NCLTrainer.fit, PretrainTrainer.pretrain):
        _wrap(loop)


def _wrap(loop: FunctionType) -> None:
    def train(trainer: Trainer, *arguments: Any, **options: Any) -> Any:
        show_to_model(trainer)
        check_lengths(trainer.config, *arguments[:2], **options)
        trainer.epoch_watch = EpochWatch(trainer.start_epoch)
        if note_file is not None:
            note_file.write_text(_note(trainer), encoding="utf-8")
        is_saved = options.get("saved", arguments[3] if len(arguments) > 3 else True)  # of fit
        if is_saved:
            check_free_space(trainer)
        try:
            return run(trainer, *arguments, **options)
        except ScoresNotFinite as error:
            trainer.epoch_watch.epoch -= 1  # of the epoch that has just ended
            raise ValueError(describe(trainer, "its scores hold NaN or infinity")) from error
        except (RuntimeError, SafetensorError) as error:  # what torch and safetensors raise instead of an OSError
            if not any(text in str(error) for text in _WRITE_ERRORS):
                raise
            raise OSError(f"checkpoint {trainer.saved_model_file} cannot be written; is its disk full?") from error
        except KeyError as error:
            message = _missing_field(trainer.config, error)
            if message is None:
                raise
            raise ValueError(message) from error
        except KeyboardInterrupt:
            raise KeyboardInterrupt(_how_to_go_on(**json.loads(_note(trainer)))) from None
        finally:
            trainer.tensorboard.close()

    run = patch_in_place(loop, train)


def _missing_field(config: Config, error: KeyError) -> str | None:
    """What to set where a batch lacks what one of RecBole's models reads; None of another error."""
    field = error.args[0] if error.args else None
    if isinstance(field, str) and field.startswith(config["NEG_PREFIX"]):
        return (
            f"train_neg_sample_args: {config['model']} needs negative items, and none is drawn; set a distribution, "
            f"such as {{'distribution': 'uniform', 'sample_num': 1}}"
        )
    if field == config["LABEL_FIELD"]:
        return (
            f"LABEL_FIELD: {config['model']} needs labels, and the data have no '{field}'; load that column, or make "
            f"it of a column of numbers, such as threshold: {{rating: 3}}"
        )
    return None


def show_to_model(trainer: AbstractTrainer) -> None:
    """Let a model that needs a certain trainer know the classes of this one, by their full names."""
    if getattr(trainer.model, "trainer_class", None):
        classes = type(trainer).__mro__
        trainer.model.trainer_classes = tuple(f"{kind.__module__}.{kind.__qualname__}" for kind in classes)


def check_lengths(
    config: Config, train_data: AbstractDataLoader, valid_data: AbstractDataLoader | None = None, **_: Any
) -> None:
    """Raise ValueError where lists are to be longer than there are items, which RecBole notices after an epoch."""
    n_items = train_data._dataset.item_num - 1
    ranks = metric_types[config["metrics"][0].lower()] == EvaluatorType.RANKING
    if valid_data and ranks and max(config["topk"]) > n_items:
        raise ValueError(
            f"topk: {max(config['topk'])} is more than the {n_items} items of data set '{config['dataset']}' that are "
            f"left after filtering; set less"
        )


def check_free_space(trainer: Trainer) -> None:
    """Raise OSError where the disk of the checkpoints has no room for those of the epochs to come.

    RecBole's has the weights and what the optimizer keeps of each that trains; beside ours stand the same in safe form,
    and the weights alone. Ours of an epoch are whole before they take the place of those of the best one before, and
    the state of the last epoch lies beside both.
    """
    folder = Path(trainer.checkpoint_dir)
    weights = sum(tensor.nbytes for tensor in trainer.model.state_dict().values())
    trained = sum(parameter.nbytes for parameter in trainer.model.parameters() if parameter.requires_grad)
    state = weights + _OPTIMIZER_STATES.get(trainer.learner.lower(), 2) * trained
    needed = state
    if getattr(trainer, "resumes_exactly", False):
        epoch = 2 * state + weights
        needed = 2 * epoch + state if trainer.epochs - trainer.start_epoch > 1 else epoch
        needed -= sum(file.stat().st_size for file in RunFiles.of(trainer.saved_model_file).all if file.is_file())
    free = free_bytes(folder)
    if free < needed:
        raise OSError(
            f"checkpoint_dir: {folder} has {free / _MEGABYTE:,.1f} MB left, and a checkpoint of "
            f"{trainer.config['model']} takes up to {needed / _MEGABYTE:,.1f} MB while it is renewed; free some, or "
            "set another folder"
        )


def _note(trainer: Trainer) -> str:
    return json.dumps({"file": trainer.saved_model_file, "resumes": getattr(trainer, "resumes_exactly", False)})


def how_to_go_on(note: Path) -> str:
    """What to do after the training that left this :data:`note_file` was ended."""
    if not note.is_file():
        return "training had not begun"
    return _how_to_go_on(**json.loads(note.read_text(encoding="utf-8")))


def _how_to_go_on(file: str, resumes: bool) -> str:
    files = RunFiles.of(file)
    saved = next((path for path in (files.pickle, files.last) if path.is_file() and path.stat().st_size), None)
    if saved is None and resumes:
        saved = files.state()  # of the stage before, until this one has its own
    if saved is None:
        return "no epoch was saved yet"
    return f"go on with --resume_from={saved}" if resumes else f"the best epoch so far is in {saved}"
