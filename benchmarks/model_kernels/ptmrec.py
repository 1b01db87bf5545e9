"""Kernels of a training step of PTMRec, stage one: those of its backbone."""

from __future__ import annotations

from collections.abc import Iterable

from kernels import Kernel

from model_kernels import description_of
from model_kernels.common import Batch


def step(model, batch: Batch) -> Iterable[Kernel]:
    if model.stage != "one":
        raise ValueError("PTMRec is described in stage one; benchmarks/tuning_cost.py measures what tuning costs")
    return description_of(type(model.backbone).__name__).step(model.backbone, batch)
