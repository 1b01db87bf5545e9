"""The files of one training run: their names, a name that no other run has, and deleting exactly those."""

from __future__ import annotations

import itertools
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from recbole_mm.io.locks import try_lock, unlock
from recbole_mm.io.temporaries import delete_leftovers

_RESUME, _LAST, _REPORT = ".resume.safetensors", "-last.safetensors", ".report.json"
_OWN_SUFFIXES = (".pth", ".safetensors", ".json")
_STAGES = "-stages"
_STAGE = re.compile(r"stage-[a-z]+")


@dataclass(frozen=True)
class RunFiles:
    """Paths of a run's files, beside each other and of one stem; none of them need be there.

    Attributes:
        pickle: RecBole's checkpoint of the best epoch, ``<stem>.pth``.
    """

    pickle: Path

    @classmethod
    def of(cls, file: str | os.PathLike[str]) -> RunFiles:
        """Those of the run that `file`, any of them, belongs to."""
        path = Path(file)
        for ending in (_RESUME, _LAST, _REPORT):
            own = [path.with_suffix(suffix) for suffix in _OWN_SUFFIXES if suffix != path.suffix]
            is_run_of_that_name = any(file.exists() for file in own)
            if path.name.endswith(ending) and path.name != ending and not is_run_of_that_name:
                return cls(path.with_name(path.name.removesuffix(ending) + ".pth"))
        return cls(path.with_suffix(".pth") if path.suffix in _OWN_SUFFIXES else path)

    @property
    def weights(self) -> Path:
        """``<stem>.safetensors``: weights of the best epoch."""
        return self.pickle.with_suffix(".safetensors")

    @property
    def description(self) -> Path:
        """``<stem>.json``: what the weights are of."""
        return self.pickle.with_suffix(".json")

    @property
    def resume(self) -> Path:
        """``<stem>.resume.safetensors``: the whole state of training after the best epoch."""
        return self.pickle.with_name(self.pickle.stem + _RESUME)

    @property
    def last(self) -> Path:
        """``<stem>-last.safetensors``: the same after a later epoch, while the run is not at its end."""
        return self.pickle.with_name(self.pickle.stem + _LAST)

    @property
    def report(self) -> Path:
        """``<stem>.report.json``: what the stages of PTMRec cost."""
        return self.pickle.with_name(self.pickle.stem + _REPORT)

    @property
    def all(self) -> tuple[Path, ...]:
        """Every file that a run may have."""
        return self.pickle, self.weights, self.description, self.resume, self.last, self.report

    @property
    def stages_folder(self) -> Path:
        """``<stem>-stages/``: earlier stages lie here, so that a list of the folder's checkpoints is one of runs."""
        return self.pickle.with_name(self.pickle.stem + _STAGES)

    def stage(self, name: str) -> RunFiles:
        """Those of an earlier stage, ``<stem>-stages/stage-<name>.pth``; they need not be there."""
        return RunFiles(self.stages_folder / f"stage-{name}.pth")

    def after_stage(self, stage: str, last: str) -> RunFiles:
        """Those of the run, whose last stage is `last`, that these of its earlier `stage` belong to.

        They need not have the names that :meth:`stage` gives: earlier versions wrote ``<stem>-stage-<name>.pth`` beside
        the run's own, and a user may have renamed them.
        """
        folder, own, beside = self.pickle.parent, f"stage-{stage}", f"-stage-{stage}"
        folder = folder if folder.name else folder.absolute()
        run = folder.name.removesuffix(_STAGES)
        if self.pickle.stem == own and run not in ("", folder.name):
            return RunFiles(folder.with_name(f"{run}.pth"))
        run = self.pickle.stem.removesuffix(beside)
        return RunFiles(self.pickle.with_stem(run if run not in ("", self.pickle.stem) else f"{run}-stage-{last}"))

    def stages(self) -> list[RunFiles]:
        """Those of the run's earlier stages, which are there, where earlier versions wrote them too."""
        inside = [files for files in _runs_of(self.stages_folder) if _STAGE.fullmatch(files.pickle.stem)]
        beside = re.compile(f"{re.escape(self.pickle.stem)}-{_STAGE.pattern}")
        return inside + [files for files in _runs_of(self.pickle.parent) if beside.fullmatch(files.pickle.stem)]

    def state(self) -> Path | None:
        """The checkpoint, of its last stage, whose state training goes on from; None where none was written."""
        for files in (self, *self.stages()):
            if files.resume.is_file() or files.last.is_file():
                return files.pickle
        return None

    def delete(self) -> None:
        """Delete the run's files and those of its earlier stages, and no other run's."""
        for files in (self, *self.stages()):
            for file in files.all:
                file.unlink(missing_ok=True)
        delete_leftovers(self.stages_folder)
        with suppress(OSError):  # there is none, or something else lies in it
            self.stages_folder.rmdir()


def _runs_of(folder: Path) -> list[RunFiles]:
    """Those that have a file in a folder, which need not be there, by name."""
    found = {RunFiles.of(file) for file in folder.glob("*") if file.suffix in _OWN_SUFFIXES}
    return sorted(found, key=lambda files: files.pickle)


def unfinished_in(folder: Path) -> list[RunFiles]:
    """Those of the runs in a folder, and of their earlier stages, that have a state which training goes on from."""
    runs = _runs_of(folder)
    stages = [files for inside in sorted(folder.glob(f"*{_STAGES}")) for files in _runs_of(inside)]
    return [files for files in (*runs, *stages) if files.resume.is_file() or files.last.is_file()]


def reserve(path: Path) -> tuple[Path, FileLock]:
    """A name for a run's checkpoint that no other has: `path`, or with the first free number behind it.

    Reservations and locks of runs that were killed are deleted.

    Returns:
        the name, and the lock that keeps it from others, to be unlocked (:mod:`recbole_mm.io.locks`) when the run ends.

    Raises OSError where nothing can be written into the folder.
    """
    if not path.parent.is_dir():  # which the lock would make
        raise OSError(f"checkpoint_dir: {path.parent} takes no files, as it is no folder; set another")
    try:
        _delete_left_locks(path.parent)
        return _first_free(path)
    except OSError as error:
        raise OSError(f"checkpoint_dir: {path.parent} takes no files ({error.strerror}); set another") from error


def _delete_left_locks(folder: Path) -> None:
    for left in (*folder.glob(".*.reserved"), *folder.glob(".*.lock")):
        lock = try_lock(left)
        if lock is not None:
            left.with_name(f"{left.name}.holder").unlink(missing_ok=True)
            unlock(lock)


def _first_free(path: Path) -> tuple[Path, FileLock]:
    numbered = (path.with_stem(f"{path.stem}-{number}") for number in itertools.count(2))
    for name in itertools.chain([path], numbered):  # which have no end
        lock = try_lock(name.with_name(f".{name.stem}.reserved"))
        if lock is None:
            continue
        files = RunFiles(name)
        if not any(file.exists() for file in files.all) and not files.stages():
            return name, lock
        unlock(lock)
    raise AssertionError("numbers have no end")
