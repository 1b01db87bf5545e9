"""An experiment from its plan to its store: choose, train, test, in this order."""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from recbole.config import Config

from recbole_mm.data.knock_out import KNOCK_OUTS
from recbole_mm.experiment.audit import audit_rows, id_only_rows
from recbole_mm.experiment.evaluation_audit import audited_keys
from recbole_mm.experiment.jobs import ray_when_needed, results_of
from recbole_mm.experiment.leak_checks import LeakCheck, leak_checks, run_leak_check
from recbole_mm.experiment.plan import Plan, read_plan
from recbole_mm.experiment.plan_rows import rows_of
from recbole_mm.experiment.plan_terms import EVALUATION, ID_ONLY, LEAK
from recbole_mm.experiment.record import RunResult
from recbole_mm.experiment.rows import Row, modalities_of
from recbole_mm.experiment.run import Job, run_job
from recbole_mm.experiment.search import RowSearch, tried
from recbole_mm.experiment.store import Store
from recbole_mm.experiment.watch import how_far
from recbole_mm.io.files import check_folder_writable
from recbole_mm.io.folders import make_run_folders
from recbole_mm.io.locks import only_holder
from recbole_mm.trainer.contents import content_digests

Tell = Callable[[str], None]


def run_experiment(
    file: Path,
    folder: Path,
    jobs: int = 1,
    ray_address: str | None = None,
    resume: bool = False,
    tell: Tell = print,
    audit: Sequence[str] | None = None,
    plugins: Sequence[str] = (),
) -> Store:
    """Run what a plan asks for and the store in `folder` lacks.

    All settings are chosen, by validation data, before the first test metric is computed.

    Args:
        file: the plan.
        folder: of the store; on a cluster of several machines one that all of them see.
        jobs: runs at a time.
        ray_address: of an existing cluster; otherwise this machine.
        resume: go on with the experiment in `folder`, with more models or seeds if the plan has them.
        tell: what shows progress, a line at a time.
        audit: knock-outs in place of the plan's.
        plugins: modules that every run imports.

    Raises:
        ValueError: the plan is none, or asks for what cannot be; `folder` holds something else, or an experiment and
            `resume` is not given; no setting of a row could be trained.
        OSError: `folder`, or a folder for logs, cannot be written.
    """
    plan = read_plan(file)
    if audit is not None:
        plan = plan.model_copy(update={"audit": list(audit)})
    rows = checked_rows(plan, file, plugins)
    searches = searches_of(rows, plan)
    folder, configs = folder.absolute(), [row.config() for row in rows]
    _make_folders(folder, configs)
    with only_holder(folder.with_name(f".{folder.name}.lock"), f"the experiment {folder}"):
        store = _opened_store(folder, rows, configs, searches, resume)
        with ray_when_needed(ray_address, "add --resume to the same command"):
            return _run_rows(plan, rows, searches, store, jobs, tell)


def _make_folders(folder: Path, configs: list[Config]) -> None:
    check_folder_writable(folder)
    for config in configs:
        make_run_folders(config, but="checkpoint_dir")  # every run has its own, in `folder`
    folder.mkdir(parents=True, exist_ok=True)


def _run_rows(
    plan: Plan, rows: list[Row], searches: list[RowSearch | None], store: Store, jobs: int, tell: Tell
) -> Store:
    """Choose, train, test; gives the store, whose tables are of these rows, each with its search."""
    _search([row_search for row_search in searches if row_search is not None], store, jobs, tell)
    chosen = _chosen(rows, searches, store, tell)
    audited = [(audit_row, 0) for row, _ in chosen for audit_row in audit_rows(row, plan.audit)]
    checks = leak_checks(rows, plan.seeds[0]) if LEAK in plan.audit else []
    _check_leaks(checks, store, jobs, tell)
    wanted = _run(plan, [*chosen, *audited], store, jobs, tell)
    asked = {search.identity for search in searches if search is not None}
    store.write_tables(wanted, asked, {check.name for check in checks})
    shutil.rmtree(store.folder / "work", ignore_errors=True)
    return store


def _opened_store(
    folder: Path, rows: list[Row], configs: list[Config], searches: list[RowSearch | None], resume: bool
) -> Store:
    """The store in a folder; raises where another experiment is there, one of these rows on other data, or damage."""
    if not resume and (folder / "store.json").exists():
        raise ValueError(f"{folder} holds an experiment; add --resume to go on with it, or give another --out")
    store = Store(folder)
    store.check()
    for dataset, path in sorted({(row.dataset, row.settings["data_path"]) for row in rows}):
        used: list[list[str] | None] = [row.settings.get("modalities") for row in rows if row.dataset == dataset]
        names = {name for modalities in used for name in modalities or ()}
        runs = [
            (config, tried_settings)
            for row, config, search in zip(rows, configs, searches, strict=True)
            if row.dataset == dataset
            for tried_settings in ([{}] if search is None else search.settings)
        ]
        store.check_data(dataset, Path(path) / dataset, None if None in used else names, content_digests(runs))
    return store


def checked_rows(plan: Plan, file: Path, plugins: Sequence[str]) -> list[Row]:
    """The rows of a plan; raises for what its audits cannot do, before anything runs."""
    rows = rows_of(plan, file, plugins)
    if ID_ONLY in plan.audit:
        rows += id_only_rows(rows)
    for row in rows:
        audit_rows(row, plan.audit)
    if EVALUATION in plan.audit and not set(plan.audit) & set(KNOCK_OUTS):
        raise ValueError(f"{file}: audit: {EVALUATION} says when features are replaced; add by what, such as shuffle")
    if plan.audit and not any(map(modalities_of, rows)):
        raise ValueError(f"{file}: audit: no row reads features that could be replaced or leak; leave audit out")
    return rows


def searches_of(rows: list[Row], plan: Plan) -> list[RowSearch | None]:
    """What is tried of each row; None where its settings are given. Raises as `ranges_of` in choose.py."""
    if plan.search is None:
        return [None] * len(rows)
    found = [None if row.sweep else RowSearch.of(row, plan.search, plan.seeds[0]) for row in rows]
    return [search if search is not None and any(search.settings) else None for search in found]


def _search(searches: list[RowSearch], store: Store, jobs: int, tell: Tell) -> None:
    """Do the searches that the store lacks."""
    folders = {row_search.identity: store.folder / "work" / row_search.identity for row_search in searches}
    missing = [
        (row_search, folders[row_search.identity]) for row_search in searches if not store.trials(row_search)
    ]
    if missing:
        tell(f"{len(missing)} of {len(searches)} rows to search for")
    for search, trials in tried(missing, jobs, tell):
        store.add_trials(search.identity, trials)
        shutil.rmtree(folders[search.identity], ignore_errors=True)


def _chosen(rows: list[Row], searches: list[RowSearch | None], store: Store, tell: Tell) -> list[tuple[Row, int]]:
    """The rows with their settings, and how many were tried; a study varies those that were chosen for its row."""
    best: dict[tuple[str, str], tuple[dict[str, Any], int]] = {}
    for row, search in zip(rows, searches, strict=True):
        if search is not None:
            trials = store.trials(search)
            choice = next(trial for trial in trials if trial.chosen)
            tell(f"{row.label} on {row.dataset}: {choice.settings} ({choice.metric} {choice.value:.4f})")
            best[row.dataset, row.label] = choice.settings, len(trials)
    found = [(row, best.get((row.dataset, row.varies or row.label), ({}, 0))) for row in rows]
    return [(row.chosen(settings), budget) for row, (settings, budget) in found]


def _check_leaks(checks: list[LeakCheck], store: Store, jobs: int, tell: Tell) -> None:
    """Do what is missing of the leak sentinel's checks."""
    done = {finding.check for finding in store.leaks() if not finding.error}
    missing = deque(check for check in checks if check.name not in done)
    for check, leak in results_of(run_leak_check, missing, jobs, lambda check, error: check.record(error=error)):
        store.add_leak(leak)
        tell(f"{check}: {f'failed: {leak.error}' if leak.error else leak.verdict}")


def _run(plan: Plan, rows: list[tuple[Row, int]], store: Store, jobs: int, tell: Tell) -> list[str]:
    """Do what is missing; gives the names of all runs that the plan has, in its order."""
    wanted: dict[str, Job] = {}
    kinds = [kind for kind in plan.audit if kind in KNOCK_OUTS] if EVALUATION in plan.audit else []
    for row, budget in rows:
        knock_outs = tuple(audited_keys(row, kinds)) if kinds else ()
        for seed in plan.seeds:
            job = Job(row, seed, Path(), budget, knock_outs)
            wanted.setdefault(job.name, replace(job, folder=store.folder / "work" / job.name))
    missing = [job for job in wanted.values() if not all(map(store.has, job.names))]
    missing.sort(key=lambda job: plan.seeds.index(job.seed))
    missing.sort(key=lambda job: job.row.dataset)  # a process keeps the data set that it loaded last
    tell(f"{len(missing)} of {len(wanted)} runs to do")
    results = results_of(run_job, deque(missing), jobs, _died, lambda job: how_far(job, job.folder))
    for number, (_, result) in enumerate(results, start=1):
        store.add(result)
        record = result.record
        shutil.rmtree(store.folder / "work" / record.run, ignore_errors=True)
        outcome = f"failed: {record.error}" if record.error else _metrics(record.test)
        tell(f"{number} of {len(missing)}: {record.label} on {record.dataset}, seed {record.seed}: {outcome}")
    return [name for job in wanted.values() for name in job.names]


def _died(job: Job, error: str) -> RunResult:
    return RunResult(job.record(ended="error", error=error))


def _metrics(values: dict[str, float]) -> str:
    return ", ".join(f"{metric} {value:.4f}" for metric, value in values.items())
