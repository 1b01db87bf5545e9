"""What a terminal shows of a run of our commands: what matters alone. The log file has all that RecBole writes.

RecBole's lines are told apart by the object that is logged, or by their text (trainer/trainer.py and
quick_start/quick_start.py of 1.2.1). A line that is not known is shown as it is.
"""

from __future__ import annotations

import logging
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, TextIO

from recbole.config import Config
from recbole.data.dataset import Dataset
from recbole.trainer import Trainer
from torch import nn
from tqdm import tqdm

from recbole_mm.host.config import KEYS_OF_THE_PROCESSES, all_settings, default_settings, user_settings

_brief_level: int | None = None  # of what our commands show; None: as RecBole has it

_COLOUR = re.compile(r"\x1B\[[0-9;]*m")
_EPOCH = re.compile(r"(Stage \w+: )?epoch (\d+) (training|evaluating) \[time: ([\d.]+)s, (.*)\]", re.DOTALL)
_MEANS = re.compile(r"(?:Stage \w+: )?epoch \d+ means \[(.*)\]")  # of ours, before the line of its epoch
_RESULT = re.compile(r"(?:Stage \w+: )?valid result: \n(.*)")
_METRIC = re.compile(r"(\S+) : (\S+)")
_BEST = re.compile(r"best valid\s*: ")
_PAIR = re.compile(r"'([^']+)'[,:] (?:np\.float\d+\()?([^(),}]+)")  # of an OrderedDict's text, or a dictionary's
_IN_THE_LOG_ALONE = re.compile(
    r"(Stage \w+: )?(\[(Training|Evaluation)\]: |FLOPs: |Saving current|Loading model structure|test result: |"
    r"The running environment|Train (RS|KG)$|Running E-step|epoch \d+ (terms|diagnostics) )"
)
_SHOWN_ELSEWHERE = {"model", "dataset", "data_path", *KEYS_OF_THE_PROCESSES}
_DEFAULTS_OF_OUR_COMMANDS = {"protocol": "shared"}


@cache
def apply() -> None:
    """Let the progress bars of RecBole's trainers, trainer/trainer.py:222, 603 and 1431, be ours. Called once."""
    Trainer._train_epoch.__globals__["tqdm"] = progress_bar


@contextmanager
def brief(level: int = logging.INFO) -> Iterator[None]:
    """Within, a terminal gets what matters alone, from this level up; with ``state: DEBUG`` all, as in RecBole.

    What libraries deprecate in RecBole is nothing that who trains a model can change; ``python -W`` shows it.
    """
    global _brief_level
    before, _brief_level = _brief_level, level
    try:
        with warnings.catch_warnings():
            for kind in (FutureWarning, DeprecationWarning):
                warnings.simplefilter("ignore", kind, append=True)  # behind the filters of whoever has set some
            warnings.filterwarnings("ignore", ".*is deprecated", append=True)  # as torch's UserWarnings say it
            yield
    finally:
        _brief_level = before


def terminal_handler(handler: logging.Handler, log_file: str) -> logging.Handler:
    """What writes to the terminal: RecBole's own handler, or within :func:`brief` ours, which names the log file."""
    if _brief_level is None or handler.level < logging.INFO:
        return handler
    return BriefTerminal(max(handler.level, _brief_level), log_file)


def progress_bar(*arguments: Any, **options: Any) -> Any:
    """tqdm, within :func:`brief` of nothing that stays, and of nothing at all where standard error is no terminal."""
    if _brief_level is not None:
        options |= {"leave": False, "disable": None}
    return tqdm(*arguments, **options)


class BriefTerminal(logging.StreamHandler[TextIO]):
    """Standard error of a run: its settings, data and model in a line each, a line an epoch, results in numbers."""

    def __init__(self, level: int, log_file: str):
        super().__init__(sys.stderr)
        self.setLevel(level)
        self._log_file = log_file
        self._model = ""
        self._eval_step = 0
        self._means = ""
        self._epoch: str | None = None  # the line of an epoch that waits for its evaluation

    def emit(self, record: logging.LogRecord) -> None:
        """Called by logging: writes the lines of this record, if any."""
        try:
            self._write(self._lines(record))
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        """Write what waits: the last epoch of a run that has no more evaluation."""
        try:
            self._write(self._waiting())
        finally:
            super().close()

    def _write(self, lines: list[str]) -> None:
        for line in lines:
            self.stream.write(line + self.terminator)
        self.flush()

    def _lines(self, record: logging.LogRecord) -> list[str]:
        message = record.msg
        if isinstance(message, Config):
            return self._of_settings(message)
        if isinstance(message, Dataset):
            return [_of_data(message)]
        if isinstance(message, nn.Module):
            n_trained = sum(parameter.numel() for parameter in message.parameters() if parameter.requires_grad)
            return [f"{self._model}: {n_trained:,} trainable parameters"]
        if message is sys.argv:
            return []
        text = _COLOUR.sub("", record.getMessage()).strip()
        if record.levelno > logging.INFO:
            return [*self._waiting(), f"{record.levelname.lower()}: {text}"]
        return self._of_text(text)

    def _of_settings(self, config: Config) -> list[str]:
        self._model = config["model"]
        self._eval_step = min(config["eval_step"], config["epochs"])
        processes = "" if config["single_spec"] else f", {config['world_size']} processes"
        changed = "; ".join(f"{key}: {value}" for key, value in changed_settings(config).items())
        return [
            f"{config['model']} on {config['dataset']} ({config['data_path']}), seed {config['seed']}, "
            f"{config['device']}{processes}",
            f"settings that differ from the defaults: {changed or 'none'}",
            f"all settings, and all that happens: {self._log_file}",
        ]

    def _of_text(self, text: str) -> list[str]:
        epoch, result = _EPOCH.fullmatch(text), _RESULT.fullmatch(text)
        if result and self._epoch is not None:
            self._epoch += f", valid {_numbers(_METRIC, result[1])}"
            return self._waiting()
        if epoch:
            return self._of_epoch(*epoch.groups(""))
        means = _MEANS.fullmatch(text)
        if means:
            self._means = f", {means[1].replace(': ', ' ')}"
        if means or _IN_THE_LOG_ALONE.match(text):
            return []
        if _BEST.match(text):
            text = f"best valid result: {_numbers(_PAIR, text)}"
        return [*self._waiting(), text]

    def _of_epoch(self, stage: str, number: str, what: str, seconds: str, values: str) -> list[str]:
        if what == "evaluating":
            self._epoch = f"{self._epoch or f'{stage}epoch {number}:'} + {seconds} s"
            return []
        lines = self._waiting()
        self._epoch = f"{stage}epoch {number}: {values.replace(': ', ' ')}{self._means}, {seconds} s"
        self._means = ""
        is_evaluated = self._eval_step > 0 and (int(number) + 1) % self._eval_step == 0
        return lines if is_evaluated else [*lines, *self._waiting()]

    def _waiting(self) -> list[str]:
        line, self._epoch = self._epoch, None
        return [] if line is None else [line]


def changed_settings(config: Config) -> dict[str, Any]:
    """What was set for a run, by whatever source, and is not what the run would have without."""
    defaults = {**default_settings(config), **_DEFAULTS_OF_OUR_COMMANDS}
    values = {key: all_settings(config).get(key, value) for key, value in user_settings(config).items()}
    return {
        key: value
        for key, value in values.items()
        if key not in _SHOWN_ELSEWHERE and (key not in defaults or defaults[key] != value)
    }


def _of_data(dataset: Dataset) -> str:
    users, items = dataset.user_num - 1, dataset.item_num - 1  # RecBole counts [PAD]
    sparsity = 100 * (1 - dataset.inter_num / (users * items))
    return (
        f"{dataset.dataset_name}: {users:,} users, {items:,} items, {dataset.inter_num:,} interactions, "
        f"sparsity {sparsity:.2f} %"
    )


def _numbers(pattern: re.Pattern[str], text: str) -> str:
    return ", ".join(f"{metric} {value}" for metric, value in pattern.findall(text))
