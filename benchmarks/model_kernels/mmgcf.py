"""Kernels of a training step of MMGCF."""

from __future__ import annotations

from collections.abc import Iterator

from kernels import Kernel, dense_products, gather, sparse_products

from model_kernels.common import Batch, projections, vectors


def step(model, batch: Batch) -> Iterator[Kernel]:
    early = model.settings.fusion_point == "early"
    n_items = model.n_items if early else batch.n_items
    yield from sparse_products(model.training_graph, model.embedding_size, model.settings.n_layers)
    yield from projections(model, model.embedding_size, None if early else n_items)
    for layer in model.item_fusion.children():
        yield from dense_products(n_items, layer.in_features, layer.out_features)
    yield from vectors(model, batch)
    yield from gather(batch.users, model.n_users, model.embedding_size)
    yield from gather(batch.items, model.n_items, model.embedding_size)
