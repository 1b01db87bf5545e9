"""The state of a Ray search on disk, whole whenever the search is killed.

Ray writes its state files in place: killed meanwhile, a search leaves one cut off, and Ray, which cannot read it,
begins anew without saying so. Whole ones are therefore kept beside them and put back before a resume.
"""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.experiment import Trial

from recbole_mm.io.files import atomic_file
from recbole_mm.tuning.ray_interrupt import raise_interrupt

_KEPT = ".state"
_EXPERIMENT = "experiment_state-"
_PATTERNS = (f"{_EXPERIMENT}*.json", "*state-*.json", "*state-*.pkl")
_GENERATIONS = 2


class KeepState(tune.Callback):
    """Keeps a whole copy of every state file of the search in `folder`.

    It also deletes the trials' checkpoints, except those that a state on disk may name: Ray itself, told to keep the
    last one, deletes what the state of a killed search still asks for. And it is where Ctrl-C ends the search.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._copied: dict[str, int] = {}
        self._checkpoints: list[list[Path]] = []  # of the trials, when the last states were copied

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        for file in _state_files(self._folder):
            changed = file.stat().st_mtime_ns
            if self._copied.get(file.name) != changed and _keep(file):
                self._copied[file.name] = changed
                if file.name.startswith(_EXPERIMENT):
                    self._next_generation([Path(trial.checkpoint.path) for trial in trials if trial.checkpoint])
        raise_interrupt()

    def _next_generation(self, checkpoints: list[Path]) -> None:
        self._checkpoints.append(checkpoints)
        if len(self._checkpoints) > _GENERATIONS:
            delete_earlier_checkpoints(self._checkpoints.pop(0))


def delete_earlier_checkpoints(kept: list[Path]) -> None:
    """Delete the checkpoints of each trial that came before the one in `kept`."""
    for checkpoint in kept:
        for earlier in checkpoint.parent.glob("checkpoint_*"):
            if earlier.name < checkpoint.name:  # Ray numbers them with six digits
                shutil.rmtree(earlier, ignore_errors=True)


def put_back_state(folder: Path) -> bool:
    """Replace state files that are cut off by their whole copies; gives whether there is a state to resume from."""
    for file in _state_files(folder):
        copy = folder / _KEPT / file.name
        if _is_whole(file.name, file.read_bytes()):
            continue
        if copy.is_file():
            copy.replace(file)
        else:
            file.unlink()
    return any(folder.glob(_PATTERNS[0])) and tune.Tuner.can_restore(str(folder))


def has_state(folder: Path) -> bool:
    """Whether state files lie in a folder, which need not be there."""
    return any(_state_files(folder))


def _state_files(folder: Path) -> Iterator[Path]:
    return iter({file for pattern in _PATTERNS for file in folder.glob(pattern)})


def _keep(file: Path) -> bool:
    content = file.read_bytes()
    if not _is_whole(file.name, content):
        return False  # being written: looked at again in the next step
    copy = file.parent / _KEPT / file.name
    copy.parent.mkdir(exist_ok=True)
    with atomic_file(copy) as temporary:
        temporary.write_bytes(content)
    return True


def _is_whole(name: str, content: bytes) -> bool:
    """Whether a state file ends where it should: the experiment's is JSON, all others are pickles of whatever name."""
    read = json.loads if name.startswith(_EXPERIMENT) else pickle.loads
    try:
        read(content)
    except (ValueError, EOFError, pickle.UnpicklingError):
        return False
    return True
