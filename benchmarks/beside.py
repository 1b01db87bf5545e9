"""Training beside another process: ``python benchmarks/beside.py``.

Steps of a model alternate between blocks alone and blocks beside a process that keeps one core busy, with torch's
threads going to sleep at once, after the turns that the project's commands let them spin, and by OpenMP's default.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from pathlib import Path
from statistics import median

import harness
from machine import versions
from shapes import DATA, SHAPES

BUSY = "import numpy\na = numpy.ones(2_000_000, dtype=numpy.float32)\nwhile True: a = a * 1.0001 - 0.0001"
POLICIES = {
    "asleep at once": {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"},
    "asleep after 1,000 turns": {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "1000"},
    "default": {"OMP_WAIT_POLICY": "", "GOMP_SPINCOUNT": ""},
}
EXPLANATION = """\
One epoch of {model} at {shape}'s shape. Blocks of steps alone and beside one process that keeps a core busy
take turns, so that the drift of the machine falls on both; medians of a step times the steps of an epoch.
Half of the machine is lost to the other process where it has two cores. The load of the machine before the
start was {load:.1f}."""


def measure(model: str, folder: str, n_steps: int) -> dict:
    """Seconds of an epoch alone and beside a busy process. Runs in an interpreter of its own."""
    from floor import PacedLoader

    run = harness.start(model, Path(folder))
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
    busy = subprocess.Popen([sys.executable, "-c", BUSY], env=one_thread)
    try:
        blocks = _steps_in_turns(run, PacedLoader, busy, n_steps)
    finally:
        busy.kill()
        busy.wait()
    return {name: median(seconds) * len(run.train_data) for name, seconds in blocks.items()}


def _steps_in_turns(run, loader_class, busy: subprocess.Popen, n_steps: int) -> dict[str, list[float]]:
    """Mean seconds of a step for each block, alone and beside."""
    busy.send_signal(signal.SIGSTOP)
    run.trainer._train_epoch(loader_class(run.train_data, loader_class.BLOCK), 0)
    turns = []

    def take_turns():
        turns.append("beside" if len(turns) % 2 else "alone")
        busy.send_signal(signal.SIGCONT if turns[-1] == "beside" else signal.SIGSTOP)

    paced = loader_class(run.train_data, n_steps, take_turns)
    run.trainer._train_epoch(paced, 1)
    blocks = zip(turns, paced.seconds_per_step, strict=False)  # one more turn begins than there are blocks
    seconds: dict[str, list[float]] = {"alone": [], "beside": []}
    for turn, block in blocks:
        seconds[turn].append(block)
    return seconds


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="POWERec")
    parser.add_argument("--shape", choices=SHAPES, default="baby", help="default: %(default)s")
    parser.add_argument(
        "--steps", type=int, default=56, help="steps to run, in blocks of 4 (default: %(default)s)"
    )
    parser.add_argument(
        "--data", type=Path, default=DATA, help="folder of the synthetic data (default: %(default)s)"
    )
    arguments = parser.parse_args()
    folder = harness.shaped_data(arguments.shape, 1, arguments.data)
    load = os.getloadavg()[0]
    rows = []
    for name, environment in POLICIES.items():
        result = harness.call_alone(
            measure, environment, model=arguments.model, folder=folder, n_steps=arguments.steps
        )
        rows.append(
            [
                name,
                *(f"{result[arrangement]:.1f}" for arrangement in ("alone", "beside")),
                f"{result['beside'] / result['alone']:.2f}",
            ]
        )
        print(", ".join(rows[-1]), flush=True)
    harness.write_results(
        f"beside-{arguments.model}-{arguments.shape}",
        "# An epoch beside a busy process",
        harness.versions_line(versions()),
        EXPLANATION.format(model=arguments.model, shape=arguments.shape, load=load),
        harness.table(["threads that wait", "alone s / epoch", "beside s / epoch", "times slower"], rows),
    )


if __name__ == "__main__":
    sys.exit(main())
