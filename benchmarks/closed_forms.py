"""Seconds and memory of models that are solved instead of trained: ``python benchmarks/closed_forms.py``.

Each is solved and evaluated in an interpreter of its own, through the trainer. Seconds are of the processor, all
threads together; the floor is what its dense products take at the machine's float64 rate, measured before and after.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import harness
from machine import memory, versions
from shapes import DATA, SHAPES

COLUMNS = {
    "shape": "{shape}",
    "model": "{model}",
    "items": "{items:,}",
    "s to solve": "{seconds:.1f}",
    "floor s": "{floor:.1f}",
    "ratio": "{ratio:.2f}",
    "peak GB": "{peak:.2f}",
    "above import GB": "{above_import:.2f}",
    "evaluation s": "{evaluation:.1f}",
    "date": "{date}",
}
EXPLANATION = """\
Synthetic data of these shapes; seconds of the processor, all threads together. The floor counts the
multiplications and additions of the dense products alone, at the float64 rate of a product of matrices of 2,048
rows: for ContentEASE half of the modalities' cosines, as they are symmetric, and n^3 for the inverse of a
symmetric matrix; for ContentKNN all cosines of each modality. Peak memory is that of solving and of evaluating
all validation users."""
RATE_ROWS = 2048


def measure(model: str, folder: str, rate_rows: int = RATE_ROWS) -> dict:
    """One row of the table. Runs in an interpreter of its own.

    Args:
        model: a closed form.
        folder: the data set's.
        rate_rows: of the matrices whose product gives the machine's rate.
    """
    import recbole_mm  # noqa: F401

    imported = memory().now
    run = harness.start(model, Path(folder))
    rate = float64_rate(rate_rows)
    seconds = processor_seconds(lambda: run.trainer._train_epoch(run.train_data, 0))
    rate = max(rate, float64_rate(rate_rows))
    evaluation = processor_seconds(lambda: run.trainer.evaluate(run.valid_data, load_best_model=False))
    items = run.model.n_items - 1
    widths = [run.model.modality_rows(name)[0].shape[1] for name in run.model.modalities]
    floor = operations(model, items, widths) / rate
    peak = memory().peak
    return {
        "items": items,
        "seconds": seconds,
        "floor": floor,
        "ratio": seconds / floor,
        "peak": peak / 1e3,
        "above_import": (peak - imported) / 1e3,
        "evaluation": evaluation,
    }


def operations(model: str, n: int, widths: list[int]) -> float:
    """Multiplications and additions of the dense products."""
    cosines = 2.0 * n**2 * sum(widths)
    return cosines / 2 + float(n) ** 3 if model == "ContentEASE" else cosines


def float64_rate(rows: int) -> float:
    """Operations a second of the processor, of a product of square float64 matrices; the best of a few."""
    import numpy as np

    left, right = np.random.default_rng(0).random((2, rows, rows))
    return 2.0 * rows**3 / min(processor_seconds(lambda: left @ right) for _ in range(3))


def processor_seconds(run: Callable[[], object]) -> float:
    """What a call takes of all threads together, so that a busy machine changes little."""
    started = time.process_time()
    run()
    return time.process_time() - started


def main() -> int:
    """The command; gives its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    models = ["ContentKNN", "ContentEASE"]
    parser.add_argument("--models", nargs="+", choices=models, default=models, help="default: both")
    shapes = ["baby", "clothing"]
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=shapes, help="default: %(default)s")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the synthetic data (default: %(default)s)")
    arguments = parser.parse_args()
    for shape in arguments.shapes:
        folder = harness.shaped_data(shape, 1, arguments.data)
        for model in arguments.models:
            row = {"shape": shape, "model": model, **harness.call_alone(measure, model=model, folder=folder)}
            row["date"] = versions()["date"]
            print(", ".join(f"{name} {cell.format(**row)}" for name, cell in COLUMNS.items()), flush=True)
            here, rows = harness.put_row("closed-forms", row, "shape", "model")
            cells = [[cell.format(**entry) for cell in COLUMNS.values()] for entry in rows]
            table = harness.table(list(COLUMNS), cells)
            harness.write_results(
                "closed-forms", "# Closed forms", harness.versions_line(here), EXPLANATION, table
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
