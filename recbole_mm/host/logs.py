"""Where RecBole's log and TensorBoard files go, when they are closed, and what happens where they cannot be written."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole.config import Config
from recbole.trainer.trainer import DecisionTreeTrainer, Trainer
from recbole.utils import get_local_time
from recbole.utils.logger import init_logger
from recbole.utils.utils import get_tensorboard

from recbole_mm.host.mend import mend, mend_each, patch_in_place
from recbole_mm.host.terminal import terminal_handler
from recbole_mm.io.new_names import create_new, create_new_folder

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

_run_handlers: list[logging.Handler] = []


@cache
def apply() -> None:
    """Give RecBole's log and TensorBoard files folders by key and an end. Called once, at import.

    utils/logger.py:67: ``log_dir``; utils/utils.py:220: ``tensorboard_dir``, for which trainer/trainer.py:123, 887
    hand their configuration on. Every run has a file and a folder of its own, also the second of a process or a second.
    """
    mend(init_logger, 'LOGROOT = "./log/"', 'LOGROOT = os.path.join(config["log_dir"] or "./log", "")')
    init_logger.__globals__["new_log"] = lambda path: LogFile(create_new(path))
    mend(init_logger, "logging.FileHandler(logfilepath)", "new_log(logfilepath)")
    init_logger.__globals__["attach"] = _attach
    mend(init_logger, "logging.basicConfig(level=level, handlers=[sh, fh])", "attach(level, sh, fh)")
    mend_each(
        (Trainer.__init__, DecisionTreeTrainer.__init__),
        "get_tensorboard(self.logger)",
        "get_tensorboard(self.logger, config)",
    )
    patch_in_place(get_tensorboard, tensorboard_writer)

    def open_log(config: Config) -> None:
        close_log()
        open_new(config)

    open_new = patch_in_place(init_logger, open_log)


def _attach(level: int, terminal: logging.Handler, file: logging.FileHandler) -> None:
    """Log into the file whatever else logs in this process, which RecBole's basicConfig does not, and to a terminal.

    The terminal comes first: the file's filter makes text of what is logged.
    """
    root = logging.getLogger()
    _run_handlers.extend([file] if root.handlers else [terminal_handler(terminal, file.baseFilename), file])
    for handler in _run_handlers:
        root.addHandler(handler)
    root.setLevel(level)


def log_file() -> str | None:
    """The file that the log of this process goes to."""
    return next((handler.baseFilename for handler in _run_handlers if isinstance(handler, LogFile)), None)


def close_log() -> None:
    """Close the log that RecBole opened last, and print no more; other handlers stay."""
    while _run_handlers:
        handler = _run_handlers.pop()
        logging.getLogger().removeHandler(handler)
        with suppress(OSError):  # of a full disk, which the handler has told of
            handler.close()


class LogFile(logging.FileHandler):
    """A log file that the run goes on without where its disk is full, after one line on standard error."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Called by logging where a record cannot be written."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
            return
        logging.getLogger().removeHandler(self)
        with suppress(OSError):
            self.close()
        print(f"warning: log {self.baseFilename}: {error.strerror}; the run goes on without it", file=sys.stderr)


class TensorBoardWriter:
    """torch's SummaryWriter, which has a folder, its own, and a thread from its first value until it is closed.

    The run goes on without it where its disk is full, after one line on standard error.
    """

    def __init__(self, folder: str):
        self._folder = folder
        self._place: Path | None = None
        self._writer: SummaryWriter | None = None
        self._is_lost = False

    def add_scalar(self, *values: Any, **options: Any) -> None:
        """As SummaryWriter's."""
        self._attempt("add_scalar", *values, **options)

    def add_hparams(self, *values: Any, **options: Any) -> None:
        """As SummaryWriter's."""
        self._attempt("add_hparams", *values, **options)

    def _attempt(self, method: str, *values: Any, **options: Any) -> None:
        if self._is_lost:
            return
        try:
            getattr(self._opened(), method)(*values, **options)
        except OSError as error:
            self._lose(error)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # asked for by copy and pickle before there is a folder
            raise AttributeError(name)
        return getattr(self._opened(), name)

    def _opened(self) -> SummaryWriter:
        if self._place is None:
            folder = create_new_folder(self._folder)
            self._folder, self._place = str(folder), folder.absolute()  # the thread writes wherever the process is then
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter  # which takes its time, and not every command logs

            self._writer = SummaryWriter(str(self._place))
        return self._writer

    def close(self) -> None:
        """Write what is left and end the thread; a later value opens another file in the same folder."""
        writer, self._writer = self._writer, None
        try:
            if writer is not None:
                writer.close()
        except OSError as error:
            self._lose(error)

    def _lose(self, error: OSError) -> None:
        if not self._is_lost:
            print(f"warning: {self._folder}: {error.strerror}; the run goes on without it", file=sys.stderr)
        self._is_lost = True


def tensorboard_writer(logger: logging.Logger, config: Config | None = None) -> TensorBoardWriter:
    """RecBole's ``get_tensorboard`` with ``tensorboard_dir``: a folder in it by the name of the log file."""
    name = Path(log_file() or f"model-{get_local_time()}.log").stem  # of our log, whatever else logs in this process
    folder = (config and config["tensorboard_dir"]) or "log_tensorboard"
    return TensorBoardWriter(os.path.join(folder, name))
