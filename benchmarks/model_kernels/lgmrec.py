"""Kernels of a training step of LGMRec."""

from __future__ import annotations

from collections.abc import Iterator

from kernels import Kernel, contrast, gather, sparse_products

from model_kernels.common import Batch, projections


def step(model, batch: Batch) -> Iterator[Kernel]:
    size, n_modalities, n_hyperedges = model.embedding_size, len(model.modalities), model.n_hyperedges
    yield from projections(model, size + n_hyperedges)
    yield from sparse_products(model.mean_of_items, n_modalities * size)
    yield from sparse_products(model.symmetric, n_modalities * size, model.n_mm_layers)
    yield from sparse_products(model.symmetric, size, model.n_layers)
    yield from sparse_products(model.interactions, n_modalities * n_hyperedges)
    yield from gather(batch.nodes, model.graph.n_nodes, (1 + n_modalities) * size)
    if model.contrast_weight:
        for _ in range(n_modalities * (n_modalities - 1) // 2):
            yield from contrast(batch.n_users, model.n_users, n_hyperedges)
            yield from contrast(batch.n_positives, model.n_items, n_hyperedges)
