"""Kernels of a training step of DAMRS."""

from __future__ import annotations

from collections.abc import Iterator

from kernels import Kernel, contrast, dense_products, sparse_products

from model_kernels.common import Batch, vectors


def step(model, batch: Batch) -> Iterator[Kernel]:
    size = model.embedding_size
    yield from sparse_products(model.user_item_graph, size, model.settings.n_layers)
    for graph in model.item_graphs:
        yield from sparse_products(graph, size, model.settings.n_item_layers)
    if model.settings.preference_weight:
        yield from dense_products(batch.n_users, size, batch.n_items, times=2)
    if model.settings.relation_weight:
        for _ in model.item_graphs:
            yield from contrast(batch.n_items, model.n_items, size)
    yield from vectors(model, batch)
