"""Kernels of a training step of MICRO."""

from __future__ import annotations

from collections.abc import Iterator

from kernels import Kernel, contrast, dense_products

from model_kernels import lattice
from model_kernels.common import Batch


def step(model, batch: Batch) -> Iterator[Kernel]:
    yield from lattice.step(model, batch)
    for _ in model.modalities:
        yield from dense_products(model.n_items, model.embedding_size, model.embedding_size)
        yield from contrast(model.n_items, 2 * model.n_items, model.embedding_size)


epoch = lattice.epoch
