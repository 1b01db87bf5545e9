"""Kernels of a training step of GUME."""

from __future__ import annotations

from collections.abc import Iterator

from kernels import Kernel, contrast, dense_products, sparse_products

from model_kernels.common import Batch, item_graphs, projections, vectors


def step(model, batch: Batch) -> Iterator[Kernel]:
    size, n_views = model.embedding_size, len(model.modalities)
    yield from projections(model, size)
    for _ in model.purifiers:
        yield from dense_products(model.n_items, size, size)
    yield from item_graphs(model, model.item_graphs)
    yield from sparse_products(model.user_item_block, n_views * size)
    yield from sparse_products(model.full_graph, 2 * size, model.n_layers)  # IDs and extended interest
    n_rows = batch.n_users + batch.n_items
    yield from dense_products(n_rows, size, n_views * size)
    yield from dense_products(n_rows * n_views, size, size)
    yield from vectors(model, batch, 2)
    settings = model.settings
    own = [batch.n_users, batch.n_positives] if settings.contrast_weight else []
    if settings.user_contrast_weight:
        own += [batch.n_users] * (3 if settings.noise_terms else 1)
    for n_rows in own:
        yield from contrast(n_rows, n_rows, size)
