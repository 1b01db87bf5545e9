"""Kernels of a training step of VBPR."""

from __future__ import annotations

from collections.abc import Iterator

from kernels import Kernel

from model_kernels.common import Batch, projections, vectors


def step(model, batch: Batch) -> Iterator[Kernel]:
    yield from projections(model, model.embedding_size, batch.n_items)
    yield from vectors(model, batch, 2)
