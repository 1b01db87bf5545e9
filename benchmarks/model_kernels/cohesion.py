"""Kernels of a training step of COHESION."""

from __future__ import annotations

from collections.abc import Iterator

from kernels import Kernel, dense_products, projection, sparse_product, sparse_products, sparse_products_of_rows

from model_kernels.common import Batch, vectors


def step(model, batch: Batch) -> Iterator[Kernel]:
    size, n_branches = model.embedding_size, len(model.rated_modalities)
    learns_ids = model.settings.id_branch_gradient
    for name, layers in zip(model.modalities, model.projections, strict=True):
        hidden = layers[0].out_features
        yield from projection(model.feature(name), hidden)
        yield from dense_products(model.n_items, hidden, size)
    n_trained = n_branches if learns_ids else n_branches - 1
    yield from sparse_products(model.training_graph, n_trained * size, model.n_layers)
    yield from sparse_products(model.fused_item_graph, n_trained * size, model.n_item_layers)
    if not learns_ids:  # forward alone
        yield sparse_product(model.training_graph, size, model.n_layers)
        yield sparse_product(model.fused_item_graph, size, model.n_item_layers)
    yield from sparse_products_of_rows(model.user_graph, n_branches * size, batch.users)
    yield from vectors(model, batch, n_branches)
