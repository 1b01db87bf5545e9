"""Kernels of a training step of BM3."""

from __future__ import annotations

from collections.abc import Iterator

from kernels import Kernel, gather, sparse_products

from model_kernels.common import Batch, projections


def step(model, batch: Batch) -> Iterator[Kernel]:
    n_positives = len(batch.positives.unique())
    yield from sparse_products(model.full_graph, model.embedding_size, model.n_layers)
    yield from projections(model, model.embedding_size, n_positives)
    yield from gather(batch.users, model.n_users, model.embedding_size)
    yield from gather(batch.positives, model.n_items, model.embedding_size)
