"""The command ``recbole-mm``, and ``python -m recbole_mm``.

It stands outside the package, whose import brings up torch and RecBole and takes seconds: ``--help`` and a misspelt
command need neither.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from difflib import get_close_matches
from importlib import import_module

PROGRAM = "recbole-mm"
# by name: where its parser is added, or for those that take any key of a run where it is run, and one line of help
COMMANDS = {
    "run": ("recbole_mm.quick_start:main", "train and test one model"),
    "tune": ("recbole_mm.tuning.command:main", "search hyper-parameters of a model"),
    "models": ("recbole_mm.model_list:add_parser", "list the models, or the settings of one with defaults and ranges"),
    "experiment": ("recbole_mm.experiment.cli:add_parsers", "train, compare and test the models of a plan"),
    "audit": ("recbole_mm.experiment.cli:add_parsers", "what each modality is worth to models, or to a checkpoint"),
    "report": ("recbole_mm.experiment.cli:add_parsers", "a page about an experiment or trained checkpoints"),
    "convert": ("recbole_mm.data.cli:add_parsers", "make feature files and data sets from other layouts"),
    "describe": ("recbole_mm.data.cli:add_parsers", "users, items, sparsity, and the quality of each modality"),
    "extract": ("recbole_mm.extraction.cli:add_parser", "make features from pictures, texts, sounds or videos"),
    "recommend": ("recbole_mm.recommend.cli:add_parsers", "the best items of every user, as a parquet or CSV file"),
    "export": ("recbole_mm.recommend.cli:add_parsers", "user and item vectors whose dot product is the score"),
    "analyse": ("recbole_mm.analysis.cli:add_parsers", "figures and tables from checkpoints"),
}
# read when torch loads, on CPUs: threads that spin starve beside a busy process, threads that sleep at once wake late;
# with pages of 4 KB the gradient of features takes ten times as long to appear as to be filled
ENVIRONMENT = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "1000", "THP_MEM_ALLOC_ENABLE": "1"}


def main(argv: list[str] | None = None) -> int:
    """Run one command; bad input is one line on standard error and exit code 2, Ctrl-C one and exit code 130."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv:
        print(_help(), file=sys.stderr)
        return 2
    name, *rest = argv
    if name in ("-h", "--help"):
        print(_help())
        return 0
    if name not in COMMANDS:
        match = get_close_matches(name.lower(), COMMANDS, n=1)
        hint = f" (did you mean {match[0]}?)" if match else ""
        print(f"error: unknown command '{name}'{hint}; there are {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    return run_command(name, rest, f"{PROGRAM} {name}")


def run_command(name: str, argv: list[str], program: str) -> int:
    """Run the command `name`; gives its exit code.

    Args:
        name: of the command.
        argv: its options.
        program: what its help says was typed.
    """
    for variable, value in ENVIRONMENT.items():
        os.environ.setdefault(variable, value)
    home, _, function = COMMANDS[name][0].partition(":")
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)
    try:
        _start_up()
        run = getattr(import_module(home), function)
    except ValueError as error:  # an installed plugin's
        print(f"error: {error}", file=sys.stderr)
        return 2
    finally:
        signal.signal(signal.SIGINT, before)
    if function == "main":
        return run(argv, program)
    from recbole_mm.command_line import run_parsed

    return run_parsed(run, [name, *argv], PROGRAM)


def _start_up() -> None:
    """Import recbole_mm, which ``python -m recbole_mm`` left to us.

    What is there then stays until the process ends: looking through it for garbage, again and again while modules are
    imported and once more at the end, takes a quarter of the time of a short command.
    """
    if "recbole_mm.startup" in sys.modules:
        return
    gc.disable()
    try:
        import_module("recbole_mm.startup")
    finally:
        gc.freeze()
        gc.enable()


def _help() -> str:
    width = max(map(len, COMMANDS)) + 2
    lines = [f"  {name:{width}}{help}" for name, (_, help) in COMMANDS.items()]
    return "\n".join([f"usage: {PROGRAM} COMMAND ...", "", "RecBole as a multimodal recommender library.", "", *lines,
                      "", f"{PROGRAM} COMMAND --help has each command's options."])  # fmt: skip


def _end(*_: object) -> None:
    """Ctrl-C while a command still imports what it needs, where an exception would be lost in somebody's import."""
    os.write(2, b"interrupted; nothing had begun\n")
    os._exit(130)


if __name__ == "__main__":
    sys.exit(main())
