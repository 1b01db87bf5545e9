"""What a setting costs: ``python benchmarks/cost.py BM3 feature_adapter none befa lora soft_prompt``.

One model per value of a key, all in one process, whose training steps are taken in turns: a shared machine drifts by a
factor of three, the ratio of two steps that follow each other does not.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from statistics import median

import harness
import yaml
from epoch import DATA, SHAPES
from machine import versions

EXPLANATION = """\
Steps of {model} at the shape of {shape}, taken in turns, medians of {n_steps}, in milliseconds of the processor,
all threads together; parameters count the [PAD] rows."""


def measure(model: str, folder: str, key: str, values: list, settings: dict, n_steps: int) -> dict:
    """Median seconds of a step and parameters per value. Runs in an interpreter of its own."""
    import torch

    from recbole_mm.trainer.precision import matmul_precision

    runs = [harness.start(model, Path(folder), **{**settings, key: value}) for value in values]
    batches = [iter(run.train_data) for run in runs]
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    seconds: list[list[float]] = [[] for _ in runs]
    for run in runs:
        run.trainer.model.train()
        run.trainer.model.start_epoch(0)
    for _ in range(n_steps + 1):
        for number, run in enumerate(runs):
            try:
                batch = next(batches[number])
            except StopIteration:
                batches[number] = iter(run.train_data)
                batch = next(batches[number])
            started = time.process_time()
            with matmul_precision(run.config["matmul_precision"]):
                run.trainer._train_batch(batch, run.model.calculate_loss, scaler)
            seconds[number].append(time.process_time() - started)
    return {
        "seconds": [median(durations[1:]) for durations in seconds],
        "parameters": [sum(p.numel() for p in run.model.parameters()) for run in runs],
    }


def main() -> int:
    """The command; gives its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("key")
    parser.add_argument("values", nargs="+", help="the first is what the others are compared with")
    parser.add_argument("--shape", choices=SHAPES, default="tmall", help="default: %(default)s")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="settings of all")
    parser.add_argument("--steps", type=int, default=20, help="default: %(default)s")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the synthetic data (default: %(default)s)")
    arguments = parser.parse_args()
    folder = harness.shaped_data(arguments.shape, 1, arguments.data)
    values = [yaml.safe_load(value) for value in arguments.values]
    settings = {key: yaml.safe_load(value) for key, _, value in (option.partition("=") for option in arguments.set)}
    result = harness.call_alone(
        measure,
        model=arguments.model,
        folder=folder,
        key=arguments.key,
        values=values,
        settings=settings,
        n_steps=arguments.steps,
    )
    first_seconds, first_parameters = result["seconds"][0], result["parameters"][0]
    rows = [
        [value, f"{1e3 * seconds:.1f}", f"{seconds / first_seconds:.2f}", f"{parameters - first_parameters:+,}"]
        for value, seconds, parameters in zip(values, result["seconds"], result["parameters"], strict=True)
    ]
    table = harness.table([arguments.key, "ms / step", "ratio", "parameters"], rows)
    explanation = EXPLANATION.format(model=arguments.model, shape=arguments.shape, n_steps=arguments.steps)
    name = f"cost-{arguments.model}-{arguments.key}-{arguments.shape}"
    title = f"# What {arguments.key} costs {arguments.model}"
    path = harness.write_results(name, title, harness.versions_line(versions()), explanation, table)
    print(f"{table}\n\n{path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
