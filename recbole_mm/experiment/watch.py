"""What a training shows epoch by epoch, kept on disk so that a killed run loses none of it."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from recbole_mm.experiment.record import Amount
from recbole_mm.experiment.store_files import checked
from recbole_mm.host.evaluations import tell_before_saving
from recbole_mm.io.errors import one_line
from recbole_mm.io.files import atomic_file
from recbole_mm.io.json_text import parse_json
from recbole_mm.io.reading import has_file, read_lines

EPOCHS = "epochs.jsonl"


@dataclass(frozen=True)
class Progress:
    """One epoch of a run.

    Attributes:
        stage: of a staged training; empty of others.
        epoch: counted from 0 in each stage.
        seconds: of training, evaluation left out.
        losses: their sum as ``loss``, their parts where the model gives several, and whatever else it records.
        valid: validation metrics, where the epoch was evaluated.
        is_best: whether none before it in its stage was better: of equal ones RecBole keeps the last one's weights.
    """

    stage: str
    epoch: int
    seconds: Amount
    losses: dict[str, float]
    valid: dict[str, float]
    is_best: bool


class Watch:
    """Follows a trainer of RecBole's or ours, and writes a line for every epoch it has trained.

    Args:
        trainer: before its `fit`.
        file: the lines; those of an earlier, killed part of the run are kept, up to the epoch it goes on from.
    """

    def __init__(self, trainer: Any, file: Path):
        self._trainer, self._file = trainer, file
        self._epochs: list[Progress] = _read(file) if trainer.config["resume_from"] else []
        self._train = trainer._train_epoch
        trainer._train_epoch = self._timed_epoch
        tell_before_saving(trainer, self._keep_validation)

    @property
    def epochs(self) -> list[Progress]:
        """Every epoch of the run, those before a kill included."""
        return self._epochs

    def _timed_epoch(self, train_data: Any, epoch: int, *arguments: Any, **options: Any) -> Any:
        stage = getattr(self._trainer, "stage", "")
        self._epochs = [seen for seen in self._epochs if not (seen.stage == stage and seen.epoch >= epoch)]
        started = time.perf_counter()
        loss = self._train(train_data, epoch, *arguments, **options)
        parts = loss if isinstance(loss, tuple) else (loss,)
        losses = {"loss": float(sum(parts))}
        if len(parts) > 1:
            losses |= {f"loss_{number + 1}": float(part) for number, part in enumerate(parts)}
        losses |= getattr(self._trainer, "records", {})
        self._add(Progress(stage, epoch, time.perf_counter() - started, losses, {}, False))
        return loss

    def _keep_validation(self, score: float, metrics: dict[str, float]) -> None:
        self._add(replace(self._epochs.pop(), valid=metrics, is_best=self._is_best(score)))

    def _is_best(self, score: float) -> bool:
        best = self._trainer.best_valid_score
        return bool(score >= best if self._trainer.valid_metric_bigger else score <= best)

    def _add(self, progress: Progress) -> None:
        self._epochs.append(progress)
        lines = [json.dumps(vars(epoch)) for epoch in self._epochs]
        with atomic_file(self._file) as temporary:
            temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def reached(folder: Path) -> str:
    """How far the run in a folder is, such as ``epoch 46, best so far 31``; nothing where it has no epoch yet."""
    try:
        epochs = _read(folder / EPOCHS)
    except (OSError, ValueError):  # it ends, or says so itself
        return ""
    if not epochs:
        return ""
    stage = f"stage {epochs[-1].stage}, " if epochs[-1].stage else ""
    best = [epoch.epoch for epoch in epochs if epoch.is_best and epoch.stage == epochs[-1].stage]
    return f"{stage}epoch {epochs[-1].epoch + 1}" + (f", best so far {best[-1] + 1}" if best else "")


def how_far(what: object, folder: Path) -> str:
    """What runs in a folder and how far it is, for a line about it."""
    return ": ".join(filter(None, (str(what), reached(folder))))


_PROGRESS = TypeAdapter(Progress)


def _read(file: Path) -> list[Progress]:
    if not has_file(file):
        return []
    try:
        return [checked(parse_json(line), _PROGRESS) for line in read_lines(file)]
    except ValueError as error:
        raise ValueError(f"{file} is damaged ({one_line(error)}); delete its folder to begin the run again") from error
