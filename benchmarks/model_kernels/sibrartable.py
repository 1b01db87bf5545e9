"""Kernels of a training step of SiBraRTable."""

from __future__ import annotations

from collections.abc import Iterator

from kernels import Kernel, dense_products, gather

from model_kernels.common import Batch, projections, vectors


def step(model, batch: Batch) -> Iterator[Kernel]:
    """Each item of the batch by 2 of the sources, in the mean."""
    n_rows = batch.n_items * 2 // model.n_sources
    yield from projections(model, model.embedding_size, n_rows)
    for _ in range(2):
        yield from dense_products(2 * batch.n_items, model.embedding_size, model.embedding_size)
    yield from vectors(model, batch)
    yield from gather(batch.items, model.n_items, model.embedding_size)
