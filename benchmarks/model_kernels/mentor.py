"""Kernels of a training step of MENTOR."""

from __future__ import annotations

from collections.abc import Iterator

from kernels import Kernel, contrast, dense_products, projection, sparse_products

from model_kernels.common import Batch, vectors


def step(model, batch: Batch) -> Iterator[Kernel]:
    size, n_modalities = model.embedding_size, len(model.modalities)
    encoders = [(model.feature(name), layers) for name, layers in zip(model.modalities, model.projections, strict=True)]
    encoders += [(model.feature(model.modalities[number // 2]), twin.projection)
                 for number, twin in enumerate(model.twins)]  # fmt: skip
    for feature, layers in encoders:
        hidden = layers[0].out_features
        yield from projection(feature, hidden)
        yield from dense_products(model.n_items, hidden, size)
    n_branches = n_modalities
    if model.settings.align_weight:
        hidden = model.id_encoder.projection[0].out_features
        yield from dense_products(model.n_items, size, hidden)
        yield from dense_products(model.n_items, hidden, size)
        n_branches += 1
    width = n_modalities * size
    if model.settings.contrast_weight:
        n_branches += 2 * n_modalities
        whole = model.settings.contrast_scope == "all"
        for n_rows in (model.n_users - 1, model.n_items - 1) if whole else (batch.n_users, batch.n_positives):
            yield from contrast(n_rows, n_rows, width)
    yield from sparse_products(model.user_item_graph, n_branches * size, model.n_layers)
    yield from sparse_products(model.fused_item_graph, n_branches * size, model.n_item_layers)
    yield from vectors(model, batch, n_modalities)
