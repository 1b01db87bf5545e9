"""RecBole's runs in several processes (``nproc``), on CPUs too.

RecBole hard-codes NCCL and CUDA devices, and its child processes import nothing but RecBole.
"""

from __future__ import annotations

import builtins
import logging
import multiprocessing
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache, partial
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

from recbole.config import Config
from recbole.quick_start.quick_start import run, run_recboles
from recbole.trainer.trainer import AbstractTrainer
from recbole.utils.utils import ensure_dir
from torch.multiprocessing import _prctl_pr_set_pdeathsig  # type: ignore[attr-defined]
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException, spawn, start_processes

from recbole_mm.host import training
from recbole_mm.host.mend import mend
from recbole_mm.host.terminal import brief

_PROCESSES_A_CORE = 8  # more than wait for one another alone
_ON_GPU = "(len(gpu_id) > 0 and torch.cuda.is_available())"
_RANK = 'self.final_config_dict["local_rank"]'
# What the processes that are left say where one of them is gone, of gloo and of NCCL.
_LOST_PEER = ("Connection closed by peer", "Connection reset by peer", "DistBackendError", "Broken pipe")


@cache
def apply() -> None:
    """Make ``run(nproc=2)`` work without CUDA and with our models, whoever calls it. Called once, at import.

    config/configurator.py:496-514: gloo and CPU devices where there is no CUDA or ``gpu_id`` is empty;
    trainer/trainer.py:63: a CPU has no device number; utils/utils.py:52: several processes make a folder at once.
    """
    enough_gpus = 'assert len(gpu_id.split(",")) >= self.final_config_dict["nproc"]'
    mend(Config._init_device, enough_gpus, f"{enough_gpus} or not {_ON_GPU}")
    mend(Config._init_device, 'backend="nccl"', f'backend="nccl" if {_ON_GPU} else "gloo"')
    mend(Config._init_device, f'"cuda", {_RANK}\n', f'*(("cuda", {_RANK}) if {_ON_GPU} else ("cpu",))\n')
    mend(Config._init_device, f"torch.cuda.set_device({_RANK})", f"{_ON_GPU} and torch.cuda.set_device({_RANK})")
    numbers = 'device_ids=[config["local_rank"]]'
    mend(AbstractTrainer.__init__, numbers, f'{numbers} if config["device"].type == "cuda" else None')
    mend(ensure_dir, "os.makedirs(dir_path)", "os.makedirs(dir_path, exist_ok=True)")
    run.__globals__["run_recboles"] = run_process


def run_process(rank: int, *arguments: Any) -> None:
    """RecBole's ``run_recboles`` for one child process, which imports recbole_mm to find this function."""
    run_recboles(rank, *arguments)


def _run_noted_process(note: Path, rank: int, *arguments: Any) -> None:
    _prctl_pr_set_pdeathsig(signal.SIGTERM)  # torch's is SIGINT, which is held back here
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():
        return
    if rank == 0:
        training.note_file = note
    with brief():
        run_process(rank, *arguments)


@dataclass(frozen=True)
class _TemporaryFilesIn:
    """What torch's ``spawn`` sees as the module tempfile.

    It gives each child a ``pytorch-errorfile-*.pickle`` to leave its traceback in, which nobody deletes.
    """

    folder: str

    def NamedTemporaryFile(self, **options: Any) -> Any:  # noqa: N802, as tempfile calls it
        return tempfile.NamedTemporaryFile(**options, dir=self.folder)


def _start_processes(run_one: Any, arguments: tuple[Any, ...], nprocs: int, *_: Any, **options: Any) -> None:
    """Torch's function, whose processes never see Ctrl-C: it goes to all, and this one ends them."""
    with _interrupts_held() if hasattr(signal, "pthread_sigmask") else nullcontext():  # Windows has none
        context = start_processes(run_one, arguments, nprocs, join=False, **options)
    while not context.join():
        pass


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Ctrl-C within counts when this ends; a process that is begun within is born with it held back, for good.

    Where it came while a process imports what it needs, its traceback would be shown.
    """
    resource_tracker.ensure_running()  # it would let Ctrl-C through again when the first process begins
    held: list[int] = []
    is_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    if is_main:  # threads of torch's get signals too, which Python then hands to this one
        signal.signal(signal.SIGINT, lambda number, _: held.append(number))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if is_main:
            signal.signal(signal.SIGINT, handler)
        if held:
            signal.raise_signal(signal.SIGINT)


def check_processes(nproc: int, world_size: int = -1, port: str | int = 5678, group_offset: int = 0) -> None:
    """Raise ValueError, naming the argument of RecBole's ``run``, where no run can have these processes."""
    for name, value in (("nproc", nproc), ("world_size", world_size), ("group_offset", group_offset)):
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError(f"--{name}: {value!r} is no whole number")
    most = _PROCESSES_A_CORE * (os.cpu_count() or 1)
    if not 1 <= nproc <= most:
        raise ValueError(f"--nproc: {nproc} must be at least 1, and at most {most} on this machine's cores")
    if not str(port).isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"--port: '{port}' is no port; set a number from 1 to 65535")
    if group_offset < 0:
        raise ValueError(f"--group_offset: {group_offset} must not be negative")
    if world_size != -1 and world_size < nproc + group_offset:
        raise ValueError(
            f"--world_size: {world_size} is less than --nproc {nproc} and --group_offset {group_offset}; it counts the "
            "processes of all machines (-1: those of this one)"
        )


@contextmanager
def child_processes() -> Iterator[None]:
    """RecBole's ``run`` within, whose child processes end with it, however it ends.

    Raises:
        ValueError: bad input, which a child found.
        ChildProcessError: a child was killed; the message says how to go on.
        KeyboardInterrupt: as from a training of one process, with how to go on.
    """
    with tempfile.TemporaryDirectory() as folder:
        note = Path(folder) / "note"
        run.__globals__["run_recboles"] = partial(_run_noted_process, note)
        of_torch = spawn.__globals__
        of_torch |= {"tempfile": _TemporaryFilesIn(folder), "start_processes": _start_processes}
        logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)  # it tells of each child it ends
        try:
            yield
        except (ProcessRaisedException, ProcessExitedException) as error:
            message = own_error(error)
            if message is not None:
                raise ValueError(message) from error
            if isinstance(error, ProcessRaisedException) and not any(text in str(error) for text in _LOST_PEER):
                raise
            how = getattr(error, "signal_name", None)
            raise ChildProcessError(
                f"one of the processes of the run ended{f' by {how}' if how else ''}, as where memory runs out; "
                f"{training.how_to_go_on(note)}"
            ) from error
        except KeyboardInterrupt as stop:  # in a training of one process, it says itself how to go on
            raise KeyboardInterrupt(str(stop) or training.how_to_go_on(note)) from None
        finally:
            run.__globals__["run_recboles"] = run_process
            of_torch |= {"tempfile": tempfile, "start_processes": start_processes}
            for child in multiprocessing.active_children():
                child.terminate()
                child.join()


def own_error(error: Exception) -> str | None:
    """The message of a child's error of bad input, from its traceback; None where it is another error."""
    last = str(error).strip().splitlines()[-1]
    kind, _, message = last.partition(": ")
    if kind.endswith("DistNetworkError") and "EADDRINUSE" in message:
        return "--port: another process of this machine has the port already; set another (--port=5679)"
    known = getattr(builtins, kind, None)
    expected = (ValueError, OSError, NotImplementedError)
    return message if isinstance(known, type) and issubclass(known, expected) else None
