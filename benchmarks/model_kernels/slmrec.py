"""Kernels of a training step of SLMRec."""

from __future__ import annotations

from collections.abc import Iterator

from kernels import Kernel, contrast, dense_products, sparse_products

from model_kernels.common import Batch, projections, vectors


def step(model, batch: Batch) -> Iterator[Kernel]:
    size, n_views = model.embedding_size, 1 + len(model.modalities)
    yield from projections(model, size)
    yield from sparse_products(model.to_users, size, model.n_layers)
    yield from sparse_products(model.to_users, n_views * size, model.n_layers)
    yield from vectors(model, batch, n_views)
    for _ in ("users", "items"):
        yield from dense_products(batch.size, n_views * size, size)
    yield from contrast(batch.n_users, batch.n_positives, size)
    for width in (size, *(size // 2 for _ in model.modalities[1:])):
        yield from contrast(batch.n_positives, batch.n_positives, width)
