"""Kernels of a training step of DGMRec."""

from __future__ import annotations

from collections.abc import Iterator

from kernels import Kernel, contrast, dense_products, projection, sparse_products

from model_kernels.common import Batch, vectors


def step(model, batch: Batch) -> Iterator[Kernel]:
    settings, size, n_modalities = model.settings, model.embedding_size, len(model.modalities)
    yield from sparse_products(model.user_item_graph, size, settings.n_layers)
    yield from sparse_products(model.mean_of_users, n_modalities * size)
    yield from sparse_products(model.mean_of_items, 2 * n_modalities * size)
    for name, graph in zip(model.modalities, model.item_graphs, strict=True):
        feature = model.feature(name)
        yield from projection(feature, 2 * size)  # both encoders
        yield from dense_products(model.n_items, size, size)
        yield from dense_products(model.n_users, size, size)
        yield from sparse_products(graph, 2 * size, settings.n_item_layers)
        if settings.reconstruction_weight:  # of content without a gradient
            yield from dense_products(model.n_items, 2 * size, feature.shape[1], trains_inputs=False)
    if settings.club_weight:
        for _ in model.clubs:
            for width in ((size, size // 2), (size // 2, size)):
                yield from dense_products(model.n_items, *width, times=2)
    yield from _contrasts(model, batch)
    if settings.generation_weight and model.has_missing:
        for _ in range(n_modalities if n_modalities == 1 else 2 * n_modalities):
            yield from dense_products(batch.n_items, size, size, times=2)
    yield from vectors(model, batch, 1 + 2 * n_modalities)


def _contrasts(model, batch: Batch) -> Iterator[Kernel]:
    settings, size, n_modalities = model.settings, model.embedding_size, len(model.modalities)
    if settings.between_weight and n_modalities > 1:
        for _ in range(n_modalities * (n_modalities - 1) // 2):
            yield from contrast(batch.n_items, batch.n_items, size)
        yield from contrast(batch.n_users, batch.n_users, size)
    if settings.within_weight:
        for _ in range(2 + n_modalities):
            yield from contrast(batch.n_users, batch.n_positives, size)
    if settings.align_weight:
        yield from contrast(batch.n_positives, batch.n_positives, size)
        yield from contrast(batch.n_users, batch.n_users, size)
