"""Kernels of a training step of FREEDOM."""

from __future__ import annotations

from collections.abc import Iterator

from kernels import Kernel, sparse_products

from model_kernels.common import Batch, item_graphs, projections, vectors


def step(model, batch: Batch) -> Iterator[Kernel]:
    yield from sparse_products(model.training_graph, model.embedding_size, model.n_layers)
    yield from item_graphs(model, [model.fused_item_graph])
    yield from projections(model, model.embedding_size, batch.n_items)
    yield from vectors(model, batch)
