"""The state that training goes on from, whole in one file that opens without unpickling."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, NonNegativeInt, ValidationError
from torch import Tensor

from recbole_mm.io.errors import first_error
from recbole_mm.io.run_files import RunFiles
from recbole_mm.io.tensor_file import named_errors, pack, read_content, read_tensor_file, unpack, write_tensor_file


class StateFacts(BaseModel):
    """What the head of a state's file tells of it, without its tensors.

    Attributes:
        write_id: of the best epoch's checkpoint, which this one is or comes after; None before there is any.
        stage: of training in stages.
        epoch: the last one that ended; -1 before the first.
        learner: the optimizer; None in one that was written before it was kept.
    """

    model_config = ConfigDict(strict=True, frozen=True, arbitrary_types_allowed=True, protected_namespaces=())

    model: str
    dataset: str
    write_id: str | None = None
    stage: str | None = None
    epoch: int
    learner: str | None = None


class TrainingState(StateFacts):
    """Training after an epoch: RecBole's checkpoint and what an exact resume needs beyond it.

    Attributes:
        cur_step: RecBole's count of evaluations since the best one.
        contents: digests of what the run reads beside its data set's files; None where it was written before there
            were any.
        random_state: ``global`` as :func:`recbole_mm.trainer.random_state.random_state` gives it, and ``loader``.
    """

    cur_step: NonNegativeInt
    best_valid_score: float
    best_valid_result: dict[str, float] | None
    state_dict: dict[str, Tensor]
    other_parameter: dict[str, Any] | None
    optimizer: dict[str, Any]
    scheduler: dict[str, Any] | None
    fingerprint: str | None
    features: dict[str, str] | None = None
    contents: list[str] | None = None
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

    Raises as :func:`newest_facts`.
    """
    found = newest_facts(files)
    return found and ResumePoint(files, _read_state(found[0]), found[0] == files.resume)


def newest_facts(files: RunFiles) -> tuple[Path, StateFacts] | None:
    """The file of the latest state of a run, and what its head tells; None where the run has none.

    Raises:
        OSError: one is no regular file, or may not be read.
        ValueError: one is damaged.
    """
    there = [(path, read_facts(path)) for path in (files.resume, files.last) if path.exists()]
    return max(there, key=lambda pair: pair[1].epoch, default=None)


Facts = TypeVar("Facts", bound=StateFacts)


def parse_state(content: Any, path: Path, kind: type[Facts]) -> Facts:
    """The state in plain values and tensors; raises ValueError naming `path` and the field that is wrong."""
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise ValueError(f"checkpoint {path} is damaged ({first_error(error)}); restore the file") from None


def read_facts(path: Path) -> StateFacts:
    """What the head of a state's file tells; raises as :func:`newest_facts`."""
    content = read_content(path)
    if not isinstance(content, dict) or "epoch" not in content:
        raise ValueError(f"{path} is no state of training; restore the file")
    return parse_state(content, path, StateFacts)


def _read_state(path: Path) -> TrainingState:
    tensors, content = read_tensor_file(path)
    with named_errors(path):
        content = unpack(content, tensors)
    return parse_state(content, path, TrainingState)
