"""Processor seconds (user and system, all threads) from the command to its first step: ``python benchmarks/start.py``.

Graphs are cached by a first run that does not count. With ``--beside FOLDER``, another checkout of this project runs
in turns with this one, so that what else the machine does meets both alike.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import harness
from shapes import DATA, SHAPES

# What a run is from typing its command to the end of its first step, in the interpreter that the command has.
FIRST_STEP = """
import json, os, sys

def seconds():
    spent = os.times()
    return spent.user + spent.system

import recbole_mm_command
import recbole_mm.startup
imported = seconds()
from recbole_mm.trainer.trainer import MultimodalTrainer

def first_step(trainer, *arguments):
    begins = seconds()
    step(trainer, *arguments)
    print(json.dumps({"imported": imported, "step begins": begins, "step ends": seconds()}), flush=True)
    os._exit(0)

step, MultimodalTrainer._train_batch = MultimodalTrainer._train_batch, first_step
recbole_mm_command.run_command("run", sys.argv[1:], "run")
"""


def measure(checkout: Path, options: list[str], folder: str) -> dict[str, float]:
    """Seconds of one start, by what it had reached.

    Args:
        checkout: folder of the project.
        options: of the command.
        folder: to run in, where the graphs are cached.

    Raises:
        RuntimeError: it did not come to a step; the message is the last line of its standard error.
    """
    environment = {**harness.AS_COMMANDS_SET, **os.environ, "PYTHONPATH": str(checkout)}
    command = [sys.executable, "-c", FIRST_STEP, *options]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode or not done.stdout:
        raise RuntimeError((done.stderr.strip().splitlines() or ["it ended before its first step"])[-1])
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=["POWERec", "FREEDOM"])
    parser.add_argument("--shape", choices=SHAPES, default="baby")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--beside", type=Path, help="another checkout, in turns with this one")
    parser.add_argument("--data", type=Path, default=DATA)
    arguments = parser.parse_args()
    data = Path(harness.shaped_data(arguments.shape, 1, arguments.data.resolve()))
    settings = {**harness.data_settings(data), "data_path": str(data.parent), "show_progress": False}
    checkouts = [harness.ROOT, *filter(None, [arguments.beside and arguments.beside.resolve()])]
    for model in arguments.models:
        given = [f"--{key}={value}" for key, value in settings.items()]
        options = [f"--model={model}", f"--dataset={data.name}", *given]
        with tempfile.TemporaryDirectory() as folder:
            turns = [[measure(checkout, options, folder) for checkout in checkouts] for _ in range(arguments.runs + 1)]
        for checkout, starts in zip(checkouts, zip(*turns[1:], strict=True), strict=True):
            median = {what: statistics.median(start[what] for start in starts) for what in starts[0]}
            shown = ", ".join(f"{what} {seconds:.2f}" for what, seconds in median.items())
            print(f"{model}, {checkout}: {shown}", flush=True)


if __name__ == "__main__":
    main()
