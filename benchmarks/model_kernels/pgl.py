"""Kernels of a training step of PGL."""

from __future__ import annotations

from collections.abc import Iterator

from kernels import Kernel, contrast, sparse_products

from model_kernels.common import Batch, projections, vectors


def step(model, batch: Batch) -> Iterator[Kernel]:
    n_views = len(model.modalities)
    width = n_views * model.embedding_size
    yield from projections(model, model.embedding_size)
    yield from sparse_products(model.training_graph, width, model.n_layers)
    yield from sparse_products(model.fused_item_graph, width, model.n_item_layers)
    yield from vectors(model, batch, n_views)
    for _ in range(2):  # each row of the batch has a mask of its own, so that none are equal
        yield from contrast(batch.size, batch.size, width)
