"""Kernels of a training step of LUDP."""

from __future__ import annotations

from collections.abc import Iterator

from kernels import Kernel, sparse_products, sparse_products_of_rows

from model_kernels.common import Batch, item_graphs, projections, vectors


def step(model, batch: Batch) -> Iterator[Kernel]:
    size = model.embedding_size
    yield from sparse_products(model.symmetric, size, model.n_layers)
    if model.has_item_graph:
        yield from item_graphs(model, model.item_graphs)
    if model.has_user_preference:
        width = model.projections[0].out_features
        yield from projections(model, width)
        yield from sparse_products_of_rows(model.mean_of_items, len(model.modalities) * width, batch.users)
    yield from vectors(model, batch)
