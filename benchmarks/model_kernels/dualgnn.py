"""Kernels of a training step of DualGNN."""

from __future__ import annotations

from collections.abc import Iterator

from kernels import Kernel, dense_products, projection, sparse_products, sparse_products_of_rows

from model_kernels.common import Batch, vectors


def step(model, batch: Batch) -> Iterator[Kernel]:
    yield from dual_graph(model, batch)
    yield from sparse_products_of_rows(model.user_graph, model.embedding_size, batch.users)
    yield from vectors(model, batch, len(model.modalities))


def dual_graph(model, batch: Batch) -> Iterator[Kernel]:
    """Projections and propagation of DualGNN and DRAGON."""
    size = model.embedding_size
    for name, layers in zip(model.modalities, model.projections, strict=True):
        hidden = layers[0].out_features
        yield from projection(model.feature(name), hidden)
        yield from dense_products(model.n_items, hidden, size)
    yield from sparse_products(model.user_item_graph, len(model.modalities) * size, model.n_layers)
