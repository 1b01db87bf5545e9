"""``experiment PLAN``: the command."""

from __future__ import annotations

import argparse
import functools
from pathlib import Path
from typing import Any


def add_parser(commands: Any) -> None:
    """Add the command `experiment`."""
    parser = commands.add_parser("experiment", help="train, compare and test the models of a plan")
    parser.add_argument("plan", type=Path, metavar="PLAN.yaml", help="data sets, models, seeds, search, sweeps")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the results (default: experiments/PLAN)")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time (default: %(default)s)")
    parser.add_argument("--ray_address", metavar="HOST:PORT", help="existing Ray cluster (default: this machine)")
    parser.add_argument("--resume", action="store_true", help="go on, with what the plan has got since")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from recbole_mm.experiment.experiment import run_experiment
    from recbole_mm.experiment.plan import read_plan
    from recbole_mm.experiment.report import write_report

    if arguments.jobs < 1:
        raise ValueError(f"--jobs: {arguments.jobs} must be at least 1")
    folder = arguments.out or Path("experiments") / arguments.plan.stem
    tell = functools.partial(print, flush=True)
    store = run_experiment(arguments.plan, folder, arguments.jobs, arguments.ray_address, arguments.resume, tell)
    failed = [record for record in store.records() if record.error]
    for record in failed:
        print(f"failed: {record.label} on {record.dataset}, seed {record.seed}: {record.error}")
    report = (
        write_report(store.folder, read_plan(arguments.plan).compare_with)
        if len(failed) < len(store.records())
        else None
    )
    print(f"store: {store.folder}")
    print(f"report: {report}" if report else "no run ended well, so there is no report")
    return 1 if failed else 0
