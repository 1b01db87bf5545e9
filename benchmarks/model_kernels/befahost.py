"""Kernels of a training step of BeFAHost: MGCN's without its fusion and its contrast."""

from __future__ import annotations

from collections.abc import Iterator

from kernels import Kernel

from model_kernels.common import Batch, vectors
from model_kernels.mgcn import views


def step(model, batch: Batch) -> Iterator[Kernel]:
    yield from views(model, batch)
    yield from vectors(model, batch)
