"""The finished trials of a Hyperopt search, kept on disk until it has ended, so that a killed one goes on.

hyperopt keeps no state, and needs none: with one seed and the scores of the trials before, it draws the same settings
again. A search that goes on therefore begins anew, and is told the kept results until it comes to a new setting.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, FiniteFloat

from recbole_mm.io.files import atomic_file
from recbole_mm.io.reading import has_file
from recbole_mm.io.run_files import RunFiles
from recbole_mm.tuning.description import Description, check_same_search, read_kept

_OTHERWISE = "restore it, or begin again with --overwrite"


class Trial(BaseModel):
    """A setting and what became of it.

    Attributes:
        params: values of the searched parameters.
        score: best of the metric that chooses; None where the trial failed.
        valid_result: all metrics of that evaluation.
        checkpoint: name of its file in ``checkpoint_dir``; None where the trial failed.
        failed: why; None where it did not.
    """

    model_config = ConfigDict(strict=True)

    params: dict[str, Any]
    score: FiniteFloat | None = None
    valid_result: dict[str, float] = {}
    checkpoint: str | None = None
    failed: str | None = None


class _Running(BaseModel):
    """The trial that trains."""

    model_config = ConfigDict(strict=True)

    params: dict[str, Any]
    checkpoint: str


class _HyperoptDescription(Description):
    early_stop: int
    hyperopt_seed: str


class _Kept(BaseModel):
    """What the file holds."""

    model_config = ConfigDict(strict=True)

    search: _HyperoptDescription
    trials: list[Trial] = []
    running: _Running | None = None


class TrialList:
    """Trials of one search and their files.

    Args:
        file: of the list.
        folder: of the checkpoints.
        description: of the search, its early stop and seed included.

    Attributes:
        finished: trials, in the order in which they were tried.
    """

    def __init__(self, file: Path, folder: Path, description: dict[str, Any]):
        self.finished: list[Trial] = []
        self._file, self._folder, self._description = file, folder, description
        self._running: _Running | None = None
        self._n_replayed = 0

    def open(self, better: Callable[[float, float | None], bool], resume: bool, overwrite: bool) -> None:
        """Go on with the search, or begin a new one; arguments and errors as of the three that it chooses from."""
        if resume:
            self.go_on(better)
        elif overwrite:
            self.overwrite()
        else:
            self.begin()

    def begin(self) -> None:
        """Begin a new search; raises ValueError where the file is of one that did not end."""
        if has_file(self._file):
            raise ValueError(
                f"{self._file} is of a search that did not end; add --resume to go on with it, or --overwrite to "
                "delete its checkpoints and begin anew, or set another --output_file"
            )
        self._write()

    def overwrite(self) -> None:
        """Begin a new search, and delete the checkpoints that an earlier one left."""
        if has_file(self._file):
            self._read()
            for name in self._names():
                self.files(name).delete()
            self.finished, self._running = [], None
        self._write()

    def go_on(self, better: Callable[[float, float | None], bool]) -> None:
        """Go on with a search that was killed, and delete what it left of trials that are not the best so far.

        Args:
            better: whether a score is better than another, or than none.

        Raises ValueError where there is none, it is another search, or the best trial's checkpoint is not there.
        """
        if not has_file(self._file):
            raise ValueError(f"--resume: there is no {self._file} of a search that did not end; leave --resume out")
        check_same_search(self._read(), self._description, self._file)
        best: Trial | None = None
        for trial in self.finished:
            if trial.score is not None and better(trial.score, None if best is None else best.score):
                best = trial
        kept = {trial.checkpoint for trial in (best, self._running) if trial is not None}
        if best is not None and not self.files(str(best.checkpoint)).pickle.is_file():
            missing = self.files(str(best.checkpoint)).pickle
            raise ValueError(f"--resume: {missing}, of the best trial of {self._file}, is not there; {_OTHERWISE}")
        for name in self._names() - kept:
            self.files(name).delete()

    def _read(self) -> dict[str, Any]:
        """Take on what the file holds; gives the description of its search."""
        kept = read_kept(self._file, _Kept, _OTHERWISE)
        self.finished = [Trial(**trial) for trial in kept["trials"]]
        self._running = kept["running"] and _Running(**kept["running"])
        model = kept["search"]["model"]
        for name in self._names():  # which are deleted by it
            if Path(name).name != name or not name.startswith(f"{model}-") or not name.endswith(".pth"):
                raise ValueError(f"--resume: {self._file} names the checkpoint {name!r}, which is none of {model}'s")
        return kept["search"]

    def _names(self) -> set[str]:
        names = {trial.checkpoint for trial in self.finished if trial.checkpoint is not None}
        return names if self._running is None else {*names, self._running.checkpoint}

    def files(self, name: str) -> RunFiles:
        """Those of a trial's checkpoint."""
        return RunFiles.of(self._folder / name)

    # ---------------------------------------------------------------- trial by trial

    def known(self, params: dict[str, Any]) -> Trial | None:
        """The kept trial of this setting; None where all were given, and this one is to be trained."""
        if self._n_replayed == len(self.finished):
            return None
        trial = self.finished[self._n_replayed]
        self._check_same(trial.params, params)
        self._n_replayed += 1
        return trial

    def state_of(self, params: dict[str, Any]) -> Path | None:
        """The file that the killed trial goes on from; None where there is none, and what it left is deleted."""
        running, self._running = self._running, None
        if running is None:
            return None
        self._check_same(running.params, params)
        files = self.files(running.checkpoint)
        state = files.state()
        if state is None:
            files.delete()
        return state

    def trains(self, params: dict[str, Any], checkpoint: str) -> None:
        """Write down that a trial begins."""
        self._running = _Running(params=params, checkpoint=Path(checkpoint).name)
        self._write()

    def ends(self, trial: Trial) -> None:
        """Write down what became of it."""
        self.finished.append(trial)
        self._n_replayed += 1
        self._running = None
        self._write()

    def delete(self) -> None:
        """Forget a search that has ended."""
        self._file.unlink(missing_ok=True)

    def _check_same(self, kept: dict[str, Any], drawn: dict[str, Any]) -> None:
        if kept != drawn:
            raise ValueError(
                f"--resume: {self._file} has {kept} where this search draws {drawn}, as other versions of hyperopt or "
                "numpy do; begin again with --overwrite"
            )

    def _write(self) -> None:
        content = {
            "search": self._description,
            "trials": [trial.model_dump() for trial in self.finished],
            "running": self._running and self._running.model_dump(),
        }
        with atomic_file(self._file) as temporary:
            temporary.write_text(json.dumps(content, indent=2), encoding="utf-8")
