"""``experiment PLAN``, ``audit PLAN_OR_CHECKPOINT`` and ``report STORE_OR_CHECKPOINTS``: the commands."""

from __future__ import annotations

import argparse
import functools
from pathlib import Path
from typing import Any

from recbole_mm.analysis.figures import check_can_draw
from recbole_mm.data.knock_out import KNOCK_OUTS
from recbole_mm.experiment.plan_terms import EVALUATION, ID_ONLY, LEAK, WITHOUT
from recbole_mm.io.files import atomic_file, check_folder_writable, check_is_no_input
from recbole_mm.io.names import check_known, closest
from recbole_mm.load import add_opening_options, open_checkpoint, opening_options, run_files

_PLACE = "experiments/PLAN"
_OF_CHECKPOINTS = {
    "trust_pickle": "--trust-pickle", "trust_plugins": "--trust-plugins", "data_path": "--data_path"
}  # fmt: skip
_OF_PLANS = {"jobs": "--jobs", "ray_address": "--ray_address", "resume": "--resume"}
_KINDS = (*KNOCK_OUTS, WITHOUT, ID_ONLY, EVALUATION)


def add_parsers(commands: Any) -> None:
    """Add the commands `experiment`, `audit` and `report`."""
    parser = commands.add_parser("experiment", help="train, compare and test the models of a plan")
    _add_options(parser, "PLAN.yaml", "data sets, models, seeds, search, sweeps")
    parser.set_defaults(run=_run, knock_out=None)
    audit = commands.add_parser("audit", help="what each modality is worth to models, or to a checkpoint")
    sources = "a plan, whose rows are trained again; or any file of a run"
    _add_options(audit, "PLAN.yaml|CHECKPOINT", sources, f"{_PLACE}; of a checkpoint audit")
    audit.add_argument(
        "--knock_out", type=lambda text: text.split(","), default=["shuffle", "noise", "zero"], metavar="KIND,KIND",
        help=f"of {', '.join(_KINDS)} (default: shuffle,noise,zero)",
    )  # fmt: skip
    add_opening_options(audit)
    audit.set_defaults(run=_audit)
    _add_report(commands)


def _add_report(commands: Any) -> None:
    report = commands.add_parser("report", help="a page about an experiment or trained checkpoints")
    report.add_argument(
        "sources", type=Path, nargs="+", metavar="DIR|CHECKPOINT", help="folder of an experiment; or any file of runs"
    )
    report.add_argument("--compare_with", action="append", default=[], metavar="ROW", help="a row; more than once")
    report.add_argument(
        "--users", default="5", metavar="N|ID,ID", help="examples: how many, or which (one: ID,) (default: %(default)s)"
    )
    only = "of checkpoints: "
    report.add_argument("--out", type=Path, metavar="DIR", help=f"{only}folder of the page (default: report)")
    report.add_argument(
        "--images", type=Path, metavar="DIR",
        help=f"{only}pictures <item_id>.jpg, .png, ... (default: the folder images beside the .inter)",
    )  # fmt: skip
    report.add_argument(
        "--fields", type=lambda text: text.split(","), metavar="FIELD,FIELD",
        help=f"{only}what is shown of the .item file (default: its title)",
    )  # fmt: skip
    add_opening_options(report)
    report.set_defaults(run=_report)


def _add_options(parser: argparse.ArgumentParser, metavar: str, help: str, out: str = _PLACE) -> None:
    parser.add_argument("plan", type=Path, metavar=metavar, help=help)
    parser.add_argument("--out", type=Path, metavar="DIR", help=f"folder of the results (default: {out})")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time (default: %(default)s)")
    parser.add_argument("--ray_address", metavar="HOST:PORT", help="existing Ray cluster (default: this machine)")
    parser.add_argument("--resume", action="store_true", help="go on, with what the plan has got since")


def _audit(arguments: argparse.Namespace) -> int:
    for kind in arguments.knock_out:
        if kind not in _KINDS:
            raise ValueError(f"--knock_out: there is no {kind!r}{closest(kind, _KINDS)}; there are {', '.join(_KINDS)}")
    if len(set(arguments.knock_out)) < len(arguments.knock_out):
        raise ValueError(f"--knock_out: {','.join(arguments.knock_out)} names one twice; leave it out")
    if arguments.plan.suffix in (".yaml", ".yml"):
        _leave_out(arguments, _OF_CHECKPOINTS, "checkpoints; a plan is trained anew, so leave it out")
        arguments.knock_out.append(LEAK)
        return _run(arguments)
    _leave_out(arguments, _OF_PLANS, "plans; a checkpoint is audited here at once, so leave it out")
    return _audit_checkpoint(arguments)


def _leave_out(arguments: argparse.Namespace, options: dict[str, str], why: str) -> None:
    """Raise ValueError for one of `options`, as they are typed by name, that is given and that nothing would read."""
    for name, typed in options.items():
        value = getattr(arguments, name)
        if value not in (None, False) and (name, value) != ("jobs", 1):  # their defaults
            raise ValueError(f"{typed} is for {why}")


def _audit_checkpoint(arguments: argparse.Namespace) -> int:
    from recbole_mm.experiment.inference_audit import TOP_SHARE, audit_checkpoint
    from recbole_mm.experiment.leak_checks import leaks_of_checkpoint, leaks_table
    from recbole_mm.experiment.run_end import popularity_check

    for kind in (WITHOUT, ID_ONLY):
        if kind in arguments.knock_out:
            raise ValueError(f"--knock_out: {kind} needs a training; give it with a plan")
    if EVALUATION in arguments.knock_out:
        raise ValueError(f"--knock_out: {EVALUATION} is all that a checkpoint's audit does; leave it out")
    file = (arguments.out or Path("audit")) / f"{arguments.plan.stem}.csv"
    check_is_no_input(file, "--out", run_files(arguments.plan))
    check_folder_writable(file.parent)
    options = opening_options(arguments)
    audit = audit_checkpoint(arguments.plan, arguments.knock_out, **options)
    opened = open_checkpoint(arguments.plan, **options)
    tables = {
        file: audit,
        file.with_name(f"{file.stem}-leaks.csv"): leaks_table(leaks_of_checkpoint(opened)),
        file.with_name(f"{file.stem}-check.csv"): popularity_check(opened, float(audit[TOP_SHARE].iloc[0])),
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    for path, table in tables.items():
        with atomic_file(path) as temporary:
            table.to_csv(temporary, index=False)
        print(table.to_string(index=False, float_format="{:.4f}".format))
        print(f"wrote {path}")
    return 0


def _report(arguments: argparse.Namespace) -> int:
    from recbole_mm.experiment.examples import parse_users

    check_can_draw()
    users = parse_users(arguments.users)
    folders = [source for source in arguments.sources if source.is_dir()]
    if not folders:
        return _report_of_checkpoints(arguments, users)
    if len(arguments.sources) > 1:
        raise ValueError(f"report: {folders[0]} is a folder; give one experiment's alone, or files of checkpoints")
    return _report_of_store(arguments, folders[0], users)


def _report_of_store(arguments: argparse.Namespace, folder: Path, users: int | list[str]) -> int:
    from recbole_mm.experiment.report import write_report
    from recbole_mm.experiment.tables import read_store

    only = {**{name: f"--{name}" for name in ("out", "images", "fields")}, **_OF_CHECKPOINTS}
    _leave_out(arguments, only, "checkpoints; the report of an experiment is made of its folder, in it")
    tables = read_store(folder)
    labels = sorted({label for dataset in tables.datasets for label in tables.rows(dataset)["label"]})
    check_known(arguments.compare_with, labels, "--compare_with", "row")
    print(f"report: {write_report(folder, arguments.compare_with, users)}")
    return 0


def _report_of_checkpoints(arguments: argparse.Namespace, users: int | list[str]) -> int:
    from recbole_mm.experiment.checkpoint_report import write_checkpoint_report

    folder = arguments.out or Path("report")
    for checkpoint in arguments.sources:
        check_is_no_input(folder, "--out", run_files(checkpoint))
    check_folder_writable(folder)
    opened = [open_checkpoint(file, **opening_options(arguments)) for file in arguments.sources]
    page, unreadable = write_checkpoint_report(
        opened, folder, users, arguments.images, arguments.fields, arguments.compare_with
    )
    if unreadable:
        print(f"unreadable pictures, left out: {', '.join(unreadable)}")
    print(f"report: {page}")
    return 0


def _run(arguments: argparse.Namespace) -> int:
    from recbole_mm.experiment.experiment import run_experiment
    from recbole_mm.experiment.plan import read_plan
    from recbole_mm.experiment.report import write_report

    check_can_draw()
    if arguments.jobs < 1:
        raise ValueError(f"--jobs: {arguments.jobs} must be at least 1")
    folder = arguments.out or Path("experiments") / arguments.plan.stem
    tell = functools.partial(print, flush=True)
    try:
        store = run_experiment(
            arguments.plan, folder, arguments.jobs, arguments.ray_address, arguments.resume, tell, arguments.knock_out,
            arguments.plugins,
        )  # fmt: skip
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"type the same with --resume, and {folder} goes on") from None
    failed = [record for record in store.records() if record.error]
    for record in failed:
        print(f"failed: {record.label} on {record.dataset}, seed {record.seed}: {record.error}")
    unchecked = [leak for leak in store.leaks() if leak.error]
    for leak in unchecked:
        print(f"failed: leak sentinel: {leak.modality} of {leak.dataset}: {leak.error}")
    report = (
        write_report(store.folder, read_plan(arguments.plan).compare_with)
        if len(failed) < len(store.records())
        else None
    )
    print(f"store: {store.folder}")
    print(f"report: {report}" if report else "no run ended well, so there is no report")
    return 1 if failed or unchecked else 0
