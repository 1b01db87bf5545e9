"""Kernels of a training step of LightGCNM."""

from __future__ import annotations

from collections.abc import Iterator

from kernels import Kernel, gather, sparse_products

from model_kernels.common import Batch, projections, vectors


def step(model, batch: Batch) -> Iterator[Kernel]:
    yield from sparse_products(model.full_graph, model.embedding_size, model.settings.n_layers)
    yield from projections(model, model.embedding_size, batch.n_items)
    yield from vectors(model, batch)
    yield from gather(batch.users, model.n_users, model.embedding_size)
