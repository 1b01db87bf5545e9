"""Seconds and memory of a training epoch, as a multiple of its floor: ``python benchmarks/epoch.py``.

Each model trains in an interpreter of its own: an epoch, an evaluation and a few steps, after which its peak
of memory is taken, then an epoch whose steps alternate with measurements of the floor. Steps run through the
trainer's own epoch, loader and negative sampling included.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import harness
from machine import memory, versions
from shapes import DATA, SHAPES

COLUMNS = {
    "model": "{model}",
    "scale": "{scale:g}",
    "steps": "{steps}",
    "s / epoch": "{seconds:.2f}",
    "floor s": "{floor:.2f}",
    "ratio": "{ratio:.2f}",
    "peak MB": "{peak:.0f}",
    "above import MB": "{above_import:.0f}",
    "evaluation s": "{evaluation:.2f}",
    "parameters": "{parameters:,}",
    "date": "{date}",
}
EXPLANATION = """\
An epoch at the shape of {shape}, times the scale in users, items and interactions. The floor is the model's
unavoidable kernels alone at their best, measured in turns with the real steps: sparse products and dense
products forward and backward, one fused Adam step, the batch's gathers; LATTICE's and MICRO's has the products
and the Adam step that learn their item graph once an epoch. Seconds are medians of a step times
the steps of an epoch, of which at most {n_steps} were run, and all that happens up to the end of the first.
Peak memory is that of one epoch, one evaluation of all validation users and the next epoch's first steps.
Parameters count the [PAD] rows."""


def measure(model: str, folder: str, n_steps: int) -> dict:
    """One row of the table. Runs in an interpreter of its own.

    Args:
        folder: the data set's.
        n_steps: the most steps of an epoch to run.
    """
    from floor import Floor, PacedLoader
    from model_kernels import description_of, kernels_of, kernels_of_epoch

    import recbole_mm  # noqa: F401

    description_of(model)  # before data are made and a model is trained
    imported = memory().now
    run = harness.start(model, Path(folder))
    batches = getattr(run.model, "user_batches", run.train_data)
    run.trainer._train_epoch(PacedLoader(batches, n_steps), 0)
    started = time.perf_counter()
    run.trainer.evaluate(run.valid_data, load_best_model=False)
    evaluation = time.perf_counter() - started
    run.trainer._train_epoch(PacedLoader(batches, 2), 1)  # beside what the evaluation leaves
    peak = memory().peak

    batch_size = run.config["train_batch_size"]
    floor = Floor(kernels_of(run.model, batch_size), PacedLoader.BLOCK)
    once = Floor(kernels_of_epoch(run.model, batch_size), 1)
    paced = PacedLoader(batches, n_steps, lambda: (floor.measure(), once.measure()))
    started = time.perf_counter()
    run.trainer._train_epoch(paced, 2)
    before = paced.started - started + paced.first_step
    steps = len(batches)
    seconds = before + (steps - 1) * paced.median_step
    floor_seconds = steps * floor.median_step + once.median_step
    return {
        "steps": steps,
        "seconds": seconds,
        "seconds_to_end_of_first_step": before,
        "floor": floor_seconds,
        "floor_parts": {part: steps * cost for part, cost in floor.parts().items()},
        "floor_of_first_step": once.median_step,
        "ratio": seconds / floor_seconds,
        "peak": peak,
        "above_import": peak - imported,
        "evaluation": evaluation,
        "parameters": sum(parameter.numel() for parameter in run.model.parameters()),
    }


def main() -> int:
    """The command; gives its exit code."""
    arguments = parse(__doc__)
    failed = False
    for model in arguments.models:
        for scale in arguments.scales:
            try:
                folder = harness.shaped_data(arguments.shape, scale, arguments.data)
                row = harness.call_alone(measure, model=model, folder=folder, n_steps=arguments.steps)
            except RuntimeError as error:
                print(f"{model} at scale {scale:g} failed: {error}", file=sys.stderr)
                failed = True
                continue
            row = {"model": model, "scale": scale, **row, "date": versions()["date"]}
            print(", ".join(f"{name} {cell.format(**row)}" for name, cell in COLUMNS.items()), flush=True)
            write(arguments.shape, row, arguments.steps)
    return int(failed)


def write(shape: str, row: dict, n_steps: int) -> None:
    """Put the row into `results/epoch-<shape>`; rows of other models and scales stay if versions do."""
    here, rows = harness.put_row(f"epoch-{shape}", row, "model", "scale")
    cells = [[cell.format(**entry) for cell in COLUMNS.values()] for entry in rows]
    harness.write_results(
        f"epoch-{shape}",
        f"# One epoch of training, shape {shape}",
        harness.versions_line(here),
        EXPLANATION.format(shape=shape, n_steps=n_steps),
        harness.table(list(COLUMNS), cells),
    )


def parse(description: str, scales: bool = True) -> argparse.Namespace:
    """Options of the commands that train models at a shape."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=["all"], help="model names, or all (default)")
    parser.add_argument("--shape", choices=SHAPES, default="baby", help="default: %(default)s")
    parser.add_argument(
        "--steps", type=int, default=60, help="most steps of an epoch to run (default: %(default)s)"
    )
    if scales:
        parser.add_argument(
            "--scales", type=float, nargs="+", default=[0.25, 1, 4], help="default: %(default)s"
        )
    parser.add_argument(
        "--data", type=Path, default=DATA, help="folder of the synthetic data (default: %(default)s)"
    )
    arguments = parser.parse_args()
    if scales and arguments.steps < 2:
        parser.error(f"--steps: {arguments.steps} must be at least 2, as an epoch's first step has work of its own")
    if arguments.models == ["all"]:
        arguments.models = harness.call_alone(all_models)["models"]
    return arguments


def all_models() -> dict:
    """Every model that trains, but PTMRec; closed_forms.py measures the others, tuning_cost.py PTMRec."""
    from recbole_mm import MODELS, ClosedFormRecommender

    trained = [name for name in MODELS if not issubclass(MODELS.get(name), ClosedFormRecommender)]
    return {"models": [name for name in trained if name != "PTMRec"]}


if __name__ == "__main__":
    sys.exit(main())
