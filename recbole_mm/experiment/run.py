"""One run of an experiment, in a process of its own: train, choose the epoch on validation data, test once."""

from __future__ import annotations

import json
import logging
import os
import platform
import statistics
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from recbole.config import Config
from recbole.utils import init_logger

from recbole_mm.configuration import checked_config
from recbole_mm.experiment.evaluation_audit import audit_run
from recbole_mm.experiment.identity import digest, knock_out_name, run_name
from recbole_mm.experiment.inference_audit import Key
from recbole_mm.experiment.measured import data_tables, lists_beyond, per_user_table
from recbole_mm.experiment.record import CurvePoint, Ending, Record, RunResult
from recbole_mm.experiment.rows import Row, is_solved, without_paths
from recbole_mm.experiment.watch import EPOCHS, Progress, Watch
from recbole_mm.host.datasets import data_set
from recbole_mm.host.user_results import evaluate_users
from recbole_mm.io.run_files import RunFiles, unfinished_in
from recbole_mm.model.recommender import Recommender
from recbole_mm.quick_start import prepare_training
from recbole_mm.trainer.fingerprints import feature_fingerprints, fingerprint
from recbole_mm.tuning.shared_data import KEYS_OF_THE_DATA, SharedData, load_shared_data

_PROCESS_MEMORY = Path("/proc/self/status")
_shared: dict[str, SharedData | None] = {}  # the data set that this process loaded last


@dataclass(frozen=True)
class Job:
    """A row with one seed.

    Attributes:
        row: with the settings that were chosen.
        seed: of this run.
        folder: where the run keeps its checkpoints until it has ended.
        budget: settings that were tried before these were chosen.
        knock_outs: of its features at its evaluation alone.
    """

    row: Row
    seed: int
    folder: Path
    budget: int = 0
    knock_outs: tuple[Key, ...] = ()

    @property
    def names(self) -> list[str]:
        """What the run and its knock-outs are called in the store."""
        return [self.name, *(knock_out_name(self.name, key) for key in self.knock_outs)]

    @property
    def name(self) -> str:
        """What the run is called in the store."""
        return run_name(self.row.identity, self.seed)

    def __str__(self) -> str:
        return f"{self.row.label} on {self.row.dataset}, seed {self.seed}"

    def record(self, **results: Any) -> Record:
        """The row of ``runs.parquet``."""
        row = self.row
        return Record(
            self.name, row.identity, row.dataset, row.label, row.model, self.seed,
            json.dumps(without_paths(row.settings)), json.dumps(row.own), json.dumps(row.sweep), self.budget,
            audit=json.dumps(row.audit), **results,
        )  # fmt: skip


def run_job(job: Job) -> RunResult:
    """Train and test; a killed run of the same job goes on from its last epoch.

    An error becomes the record's, so that the experiment goes on with the other runs.
    """
    sys.argv[1:] = []  # a worker's own, which RecBole's Config would read
    try:
        return _run(job)
    except Exception as error:
        traceback.print_exc()
        return RunResult(job.record(ended="error", error=f"{type(error).__name__}: {error}"))


def _run(job: Job) -> RunResult:
    started = time.perf_counter()
    _forget_peak()
    job.folder.mkdir(parents=True, exist_ok=True)
    trainer, train_data, valid_data, test_data = prepare(job)
    watch = Watch(trainer, job.folder / EPOCHS)
    trainer.fit(train_data, valid_data, verbose=False)
    users = evaluate_users(trainer, test_data)
    best = best_epoch(watch.epochs)
    record = job.record(
        chosen_by=trainer.config["valid_metric"],
        ended=_ending(trainer, watch.epochs),
        best_epoch=best.epoch + 1,
        epochs=len(watch.epochs),
        seconds_per_epoch=statistics.median(epoch.seconds for epoch in watch.epochs),
        seconds=time.perf_counter() - started,
        peak_memory=_peak(),
        parameters=sum(parameter.numel() for parameter in trainer.model.parameters() if parameter.requires_grad),
        valid=best.valid,
        test=users.averages,
        beyond=lists_beyond(users, train_data, test_data),
        data=digest([fingerprint(data_set(loader)) for loader in (train_data, valid_data, test_data)]),
        features=_features(trainer.model, data_set(train_data)),
        versions={name: version(name) for name in ("recbole-mm", "recbole", "torch", "numpy")},
        hardware=f"{platform.machine()}, {os.cpu_count()} cores, {trainer.config['device']}",
        commit=_commit(),
    )
    per_user = per_user_table(users, data_set(train_data))
    trusts = bool(job.row.settings.get("plugins"))
    audits = list(audit_run(record, trainer.saved_model_file, job.knock_outs, trusts)) if job.knock_outs else []
    return RunResult(record, per_user, _curves(watch.epochs), data_tables(train_data, test_data), audits)


def prepare(job: Job) -> tuple[Any, ...]:
    """Trainer, training, validation and test data of a run, whose training goes on from a state in its folder."""
    settings = {**job.row.settings, "seed": job.seed, "checkpoint_dir": str(job.folder), "show_progress": False}
    settings["resume_from"] = _state_of(job.folder)
    config = checked_config(job.row.model, job.row.dataset, None, settings)
    quiet(config)
    return prepare_training(config, shared_dataset(config))


def quiet(config: Config) -> None:
    """Log as RecBole does, warnings alone."""
    init_logger(config)
    logging.getLogger().setLevel(logging.WARNING)


def shared_dataset(config: Config) -> Any:
    """The data set of a configuration, of which this process keeps the last one; None where each run loads its own."""
    settings_of_data = {name: str(config[name]) for name in sorted({*KEYS_OF_THE_DATA, "data_path"})}
    key = digest([settings_of_data, issubclass(config.model_class, Recommender)])  # RecBole's models read no features
    if key not in _shared:
        _shared.clear()
        _shared[key] = load_shared_data(config, ())
    shared = _shared[key]
    return None if shared is None else shared.dataset(config)


def _state_of(folder: Path) -> str | None:
    """A file of the killed run in a folder from which ours go on; RecBole's own models begin again."""
    latest = max(unfinished_in(folder), key=_newest, default=None)
    return None if latest is None else str(latest.pickle)


def _newest(files: RunFiles) -> float:
    return max(file.stat().st_mtime for file in (files.resume, files.last) if file.exists())


def best_epoch(epochs: list[Progress]) -> Progress:
    """The best of the last stage there is."""
    last_stage = epochs[-1].stage
    return next((epoch for epoch in reversed(epochs) if epoch.is_best and epoch.stage == last_stage), epochs[-1])


def _ending(trainer: Any, epochs: list[Progress]) -> Ending:
    if is_solved(trainer.config):
        return "solved"
    return "cap" if epochs[-1].epoch + 1 >= trainer.epochs else "stopped"


def _features(model: Any, dataset: Any) -> dict[str, str]:
    return feature_fingerprints(model, dataset) if isinstance(model, Recommender) else {}


def _curves(epochs: list[Progress]) -> list[CurvePoint]:
    return [
        CurvePoint(epoch.stage, epoch.epoch, name, value)
        for epoch in epochs
        for name, value in {**epoch.losses, **{f"valid_{name}": value for name, value in epoch.valid.items()}}.items()
    ]


# ---------------------------------------------------------------- this process and machine


def _forget_peak() -> None:
    """Let the peak memory of this process, which ran others before, begin anew."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:  # no Linux: the peak is that of the process
        pass


def _peak() -> float:
    """Most resident memory in MB since :func:`_forget_peak`."""
    if not _PROCESS_MEMORY.is_file():
        return float("nan")
    lines = dict(line.split(":", 1) for line in _PROCESS_MEMORY.read_text().splitlines())
    return int(lines["VmHWM"].split()[0]) * 1024 / 1e6


def _commit() -> str:
    """Of the checkout that recbole_mm lies in, if any."""
    folder = Path(__file__).parent
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""
