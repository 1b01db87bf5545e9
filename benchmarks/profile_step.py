"""Where the time of a training step goes: ``python benchmarks/profile_step.py --models POWERec``.

Every operation of torch in a few steps is timed by hand, with the bytes it has to move and its floating-point
operations; both are set against the machine's limits, measured between the same steps.
"""

from __future__ import annotations

import math
import re
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import epoch
import harness
import torch
from machine import Limits, versions
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

PARTS = {
    "sparse products": "_embedding_bag|sparse_sampled_addmm",
    "dense products": "(add|b|baddb)?mm_?$",
    "optimizer": "_fused_",
    "gathers": "embedding|index|gather|scatter",
}  # how the names of a part's operations begin
READS_ROWS = ("embedding", "index", "index_select", "gather")
WRITES_ROWS = ("index_copy_", "index_add_", "index_put_", "_index_put_impl_", "scatter_", "scatter_add_")
REST = "element-wise passes"
HOST = "Python and autograd"
LOADER = "loader and sampling"
EXPLANATION = """\
The parts of a training step at the shape of {shape}, the largest first. The limit of a part is what its
operations would take if each moved its tensors once at the machine's bandwidth, or computed at its rate,
whichever is longer; both were measured in turns with the steps. Operations on tensors that stay in the
cache can beat it. What a step spends outside torch's operations is longer here than without the profile."""


@dataclass
class Cost:
    """Sums over the calls of one operation."""

    seconds: float = 0.0
    moved: float = 0.0
    operations: float = 0.0
    calls: int = 0


@dataclass
class Operations(TorchDispatchMode):
    """Times every operation of torch while it is entered, forward, backward and optimizer."""

    costs: dict[str, Cost] = field(default_factory=lambda: defaultdict(Cost))

    def __post_init__(self):
        super().__init__()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        started = time.perf_counter()
        result = func(*args, **kwargs)
        seconds = time.perf_counter() - started
        if not func.is_view:
            cost = self.costs[func.overloadpacket.__name__]
            cost.seconds += seconds
            cost.moved += _bytes_moved(func, args, kwargs, result)
            cost.operations += _operations(func, args, kwargs, result)
            cost.calls += 1
        return result


def _bytes_moved(func, args, kwargs, result) -> int:
    """Every tensor read once, every result written once; of a table gathered from or written to only its rows."""
    name, written = func.overloadpacket.__name__, sum(map(_bytes, tree_leaves(result)))
    if name in READS_ROWS:
        return 2 * written
    if name in WRITES_ROWS:
        return 2 * sum(map(_bytes, tree_leaves(args[1:])))
    if func._schema.is_mutable and not written:  # a list changed in place, such as an optimizer's
        return 2 * sum(map(_bytes, tree_leaves(args)))
    return written + sum(map(_bytes, tree_leaves((args, {k: v for k, v in kwargs.items() if k != "out"}))))


def _bytes(value) -> int:
    if not isinstance(value, Tensor):
        return 0
    if value.layout is torch.sparse_csr:
        return value.values().nbytes + value.col_indices().nbytes + value.crow_indices().nbytes
    if value.layout is torch.sparse_coo:
        return value._values().nbytes + value._indices().nbytes
    return min(value.nbytes, value.untyped_storage().nbytes())


def _operations(func, args, kwargs, result) -> float:
    name = func.overloadpacket.__name__
    dense = getattr(torch.ops.aten, name.removesuffix("_"), None)
    if dense in flop_registry:
        return flop_registry[dense](*args, **kwargs, out_val=result)
    if name == "sparse_sampled_addmm":
        return 2.0 * result.values().numel() * args[1].shape[1]
    if _part(name) == "sparse products":
        return 2.0 * len(args[1]) * args[0].shape[1]  # indices, weight width
    return float(math.prod(result.shape)) if isinstance(result, Tensor) else 0.0


def _part(operation: str) -> str:
    return next((part for part, names in PARTS.items() if re.match(names, operation)), REST)


def measure(model: str, folder: str, n_steps: int) -> dict:
    """Parts of a step of one model. Runs in an interpreter of its own.

    Returns:
        ``step`` seconds, ``parts``: per part seconds, its limit in seconds and its operations, the slowest
        first.
    """
    run = harness.start(model, Path(folder))
    run.trainer.model.train()
    run.trainer.model.start_epoch(0)
    limits, profile = Limits(), Operations()
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    batches = iter(run.train_data)
    loading = total = 0.0
    for step in range(n_steps + 2):
        if step == 2:  # the first two were to warm up
            profile.costs.clear()
            loading = total = 0.0
        limits.measure()
        started = time.perf_counter()
        batch = next(batches)
        loaded = time.perf_counter()
        with profile:
            run.trainer._train_batch(batch, run.model.calculate_loss, scaler)
        total += time.perf_counter() - started
        loading += loaded - started
    return _summary(profile.costs, loading, total, n_steps, limits)


def _summary(costs: dict[str, Cost], loading: float, total: float, n_steps: int, limits: Limits) -> dict:
    bandwidth, rate = median(limits.bytes_per_second), median(limits.operations_per_second)
    parts: dict[str, dict] = {LOADER: {"seconds": loading / n_steps}}
    for name, cost in sorted(costs.items(), key=lambda item: -item[1].seconds):
        part = parts.setdefault(_part(name), {"seconds": 0.0, "limit": 0.0, "operations": {}})
        part["seconds"] += cost.seconds / n_steps
        part["limit"] += max(cost.moved / bandwidth, cost.operations / rate) / n_steps
        part["operations"][name] = [cost.calls / n_steps, cost.seconds / n_steps]
    parts[HOST] = {"seconds": total / n_steps - sum(part["seconds"] for part in parts.values())}
    return {"step": total / n_steps, "bandwidth": bandwidth, "rate": rate, "parts": parts}


def lines(model: str, result: dict, n_parts: int = 3) -> list[list[str]]:
    """Rows of the table: the largest parts of a step."""
    ordered = sorted(result["parts"].items(), key=lambda item: -item[1]["seconds"])[:n_parts]
    rows = []
    for name, part in ordered:
        limit, seconds = part.get("limit"), part["seconds"]
        operations = list(part.get("operations", {}).items())[:4]
        rows.append(
            [
                model,
                name,
                f"{1e3 * seconds:.1f}",
                f"{seconds / result['step']:.0%}",
                f"{1e3 * limit:.1f}" if limit else "",
                f"{seconds / limit:.1f}" if limit else "",
                ", ".join(f"{operation} {calls:g}x {1e3 * spent:.1f}" for operation, (calls, spent) in operations),
            ]
        )
    return rows


def main() -> int:
    """The command; gives its exit code."""
    arguments = epoch.parse(__doc__, scales=False)
    folder = harness.shaped_data(arguments.shape, 1, arguments.data)
    failed = False
    for model in arguments.models:
        try:
            result = harness.call_alone(measure, model=model, folder=folder, n_steps=min(arguments.steps, 12))
        except RuntimeError as error:
            print(f"{model} failed: {error}", file=sys.stderr)
            failed = True
            continue
        print(harness.table(HEADER, lines(model, result)), flush=True)
        write(arguments.shape, {"model": model, **result, "date": versions()["date"]})
    return int(failed)


def write(shape: str, row: dict) -> None:
    """Put a model's parts into `results/profile-<shape>`; those of other models stay if versions do."""
    here, rows = harness.put_row(f"profile-{shape}", row, "model")
    bounds = [
        [
            entry["model"],
            f"{entry['bandwidth'] / 1e9:.1f}",
            f"{entry['rate'] / 1e9:.0f}",
            f"{1e3 * entry['step']:.1f}",
            entry["date"],
        ]
        for entry in rows
    ]
    harness.write_results(
        f"profile-{shape}",
        f"# Where a training step goes, shape {shape}",
        harness.versions_line(here),
        EXPLANATION.format(shape=shape),
        harness.table(HEADER, [line for entry in rows for line in lines(entry["model"], entry)]),
        harness.table(["model", "bandwidth GB/s", "rate GFLOP/s", "ms / step", "date"], bounds),
    )


HEADER = [
    "model",
    "part",
    "ms / step",
    "share",
    "limit ms",
    "times the limit",
    "slowest operations, ms / step",
]


if __name__ == "__main__":
    sys.exit(main())
