"""``recommend`` for all users of Clothing's shape: ``python benchmarks/serve.py``.

The command runs in an interpreter of its own, start and opening of the checkpoint included, k 20, what users have
seen left out. The checkpoint is of one epoch: its numbers do not matter here.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import harness
from machine import memory, versions
from shapes import DATA, SHAPES

EXPLANATION = """\
`python -m recbole_mm recommend CHECKPOINT --k 20 --exclude seen`, POWERec with its defaults on synthetic data of
Clothing's shape: {users:,} users, {items:,} items, {rows:,} rows written. Wall time and peak memory of the whole
process, imports and opening of the checkpoint included; the visual features alone are {features:.0f} MB."""


def train(folder: str, saved: str) -> dict:
    """A checkpoint of one epoch. Runs in an interpreter of its own."""
    run = harness.start("POWERec", Path(folder), epochs=1, checkpoint_dir=saved)
    run.trainer.fit(run.train_data, run.valid_data)
    return {"checkpoint": run.trainer.saved_model_file}


def recommend(checkpoint: str, block_mb: int) -> dict:
    """The command itself. Runs in an interpreter of its own."""
    import pyarrow.parquet as pq

    started = time.perf_counter()
    from recbole_mm.__main__ import main

    out = f"--out=recs-{block_mb}.parquet"
    code = main(["recommend", checkpoint, "--k=20", "--exclude=seen", f"--block_mb={block_mb}", out])
    seconds = time.perf_counter() - started
    if code:
        raise RuntimeError(f"recommend ended with exit code {code}")
    rows = pq.read_metadata(f"recs-{block_mb}.parquet").num_rows
    return {"seconds": seconds, "peak": memory().peak, "rows": rows}


def main() -> int:
    """The command; gives its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the synthetic data (default: %(default)s)")
    data = parser.parse_args().data.resolve()
    folder = harness.shaped_data("clothing", 1, data)
    trained = harness.call_alone(train, folder=folder, saved=str(data / "serve"))
    measured = {}
    for block_mb in (64, 256, 1024):
        measured[block_mb] = harness.call_alone(recommend, block_mb=block_mb, **trained)
        print(block_mb, measured[block_mb], flush=True)
    rows = [[size, f"{figures['seconds']:.1f}", f"{figures['peak']:.0f}"] for size, figures in measured.items()]
    shape = SHAPES["clothing"]
    explanation = EXPLANATION.format(
        users=shape.n_users, items=shape.n_items, rows=measured[256]["rows"],
        features=4 * shape.n_items * shape.widths["visual"] / 1e6,
    )  # fmt: skip
    result = harness.table(["block MB", "seconds", "peak MB"], rows)
    path = harness.write_results(
        "serve", "# Recommending to all users", harness.versions_line(versions()), explanation, result
    )
    print(f"{result}\n\n{path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
