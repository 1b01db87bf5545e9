"""The state that training goes on from, whole in one file that opens without unpickling."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, NonNegativeInt, ValidationError
from torch import Tensor

from recbole_mm.io.run_files import RunFiles
from recbole_mm.io.tensor_file import named_errors, pack, read_content, read_tensor_file, unpack, write_tensor_file
from recbole_mm.trainer.description import first_error


class TrainingState(BaseModel):
    """Training after an epoch: RecBole's checkpoint and what an exact resume needs beyond it.

    Attributes:
        write_id: of the best epoch's checkpoint, which this one is or comes after; None before there is any.
        stage: of training in stages.
        epoch: the last one that ended; -1 before the first.
        cur_step: RecBole's count of evaluations since the best one.
        random_state: ``global`` as :func:`recbole_mm.trainer.random_state.random_state` gives it, and ``loader``.
    """

    model_config = ConfigDict(strict=True, frozen=True, arbitrary_types_allowed=True, protected_namespaces=())

    model: str
    dataset: str
    write_id: str | None = None
    stage: str | None = None
    epoch: int
    cur_step: NonNegativeInt
    best_valid_score: float
    best_valid_result: dict[str, float] | None
    state_dict: dict[str, Tensor]
    other_parameter: dict[str, Any] | None
    optimizer: dict[str, Any]
    scheduler: dict[str, Any] | None
    fingerprint: str | None
    features: dict[str, str] | None = None
    random_state: dict[str, Any]


@dataclass(frozen=True)
class ResumePoint:
    """Where a run goes on.

    Attributes:
        files: of the run.
        state: after its last epoch that ended.
        is_best: whether that is the best one, whose checkpoint the state belongs to.
    """

    files: RunFiles
    state: TrainingState
    is_best: bool


def write_state(path: Path, state: TrainingState) -> None:
    """Write one file; raises OSError naming it where it cannot be written."""
    tensors: dict[str, Tensor] = {}
    content = pack(dict(state), "state", tensors)
    write_tensor_file(path, tensors, content)


def newest_state(files: RunFiles) -> ResumePoint | None:
    """The latest state of a run; None where it has none.

    Raises:
        OSError: one is no regular file.
        ValueError: one is damaged.
    """
    newest = _newest(files)
    return None if newest is None else ResumePoint(files, _read_state(newest), newest == files.resume)


def model_of_newest_state(files: RunFiles) -> str | None:
    """Which model the latest state of a run is of, without reading its tensors; None where the run has no state.

    Raises as :func:`newest_state`.
    """
    newest = _newest(files)
    return None if newest is None else read_content(newest).get("model")


def _newest(files: RunFiles) -> Path | None:
    there = [path for path in (files.resume, files.last) if path.exists()]
    return max(there, key=_epoch) if there else None


def parse_state(content: dict[str, Any], path: Path) -> TrainingState:
    """The state in plain values and tensors; raises ValueError naming `path` and the field that is wrong."""
    try:
        return TrainingState.model_validate(content)
    except ValidationError as error:
        raise ValueError(f"checkpoint {path} is damaged ({first_error(error)}); restore the file") from None


def _epoch(path: Path) -> int:
    content = read_content(path)
    epoch = content.get("epoch") if isinstance(content, dict) else None
    if not isinstance(epoch, int):
        raise ValueError(f"{path} is no state of training; restore the file")
    return epoch


def _read_state(path: Path) -> TrainingState:
    tensors, content = read_tensor_file(path)
    with named_errors(path):
        content = unpack(content, tensors)
    return parse_state(content, path)
