"""Names of checkpoints and logs: RecBole takes them from the second at which a run starts."""

from __future__ import annotations

import os
import weakref
from functools import cache
from pathlib import Path

import torch.distributed as dist
from filelock import FileLock
from recbole.quick_start.quick_start import run_recbole
from recbole.trainer import Trainer

from recbole_mm.host.logs import log_file
from recbole_mm.host.mend import mend
from recbole_mm.io.locks import unlock
from recbole_mm.io.run_files import reserve


@cache
def apply() -> None:
    """Give each trainer a checkpoint name that no other has, and let ``run_recbole`` tell its files. Called once.

    trainer/trainer.py:125: two runs of one second wrote into one file. quick_start/quick_start.py:191: the result
    has `checkpoint` and `log` too, since the trainer is gone when it is returned.
    """
    Trainer.__init__.__globals__["reserve_checkpoint"] = _reserve_checkpoint
    run_recbole.__globals__["log_file"] = log_file
    path = "os.path.join(self.checkpoint_dir, saved_model_file)"
    mend(Trainer.__init__, path, "reserve_checkpoint(self, saved_model_file)")
    tested = '"test_result": test_result,'
    files = '"checkpoint": str(trainer.saved_model_file), "log": log_file(),'
    mend(run_recbole, tested, f"{tested} {files}")


def _reserve_checkpoint(trainer: Trainer, name: str) -> str:
    """The trainer's own path, reserved while it lives; the first process's in all of a run in several."""
    names = [os.path.join(trainer.checkpoint_dir, name)]
    in_processes = dist.is_available() and dist.is_initialized()
    if not in_processes or dist.get_rank() == 0:
        path, reservation = reserve(Path(names[0]))
        weakref.finalize(trainer, _release, reservation, os.getpid())
        names = [str(path)]
    if in_processes:
        dist.broadcast_object_list(names, src=0)
    return names[0]


def _release(reservation: FileLock, process: int) -> None:
    if os.getpid() == process:  # not in a forked copy of it
        unlock(reservation)
