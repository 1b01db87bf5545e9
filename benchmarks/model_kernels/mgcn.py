"""Kernels of a training step of MGCN."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from kernels import Kernel, contrast, dense_products, sparse_products, sparse_products_of_rows

from model_kernels.common import Batch, projections, vectors


def step(model, batch: Batch) -> Iterator[Kernel]:
    size, n_views = model.embedding_size, len(model.item_graphs)
    yield from views(model, batch)
    n_rows = batch.n_users + batch.n_items
    yield from dense_products(n_rows, size, n_views * size)
    yield from dense_products(n_rows * n_views, size, size)
    yield from vectors(model, batch)
    for n_rows in (batch.n_users, batch.n_positives):
        yield from contrast(n_rows, n_rows, size)


def views(model, batch: Batch) -> Iterator[Kernel]:
    """Propagation of the IDs and of each modality's purified features."""
    size, n_views = model.embedding_size, len(model.item_graphs)
    yield from sparse_products(model.full_graph, size, model.n_layers)
    yield from projections(model, size)
    gates = model.feature_adapters if model.adapters_purify else model.purifiers
    for layer in gates.modules():
        if isinstance(layer, torch.nn.Linear):
            yield from dense_products(model.n_items, layer.in_features, layer.out_features)
    for graph in model.item_graphs:
        yield from sparse_products(graph, size)
    yield from sparse_products_of_rows(model.user_item_block, n_views * size, batch.users)
