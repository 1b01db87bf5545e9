"""Kernels of a training step of POWERec."""

from __future__ import annotations

from collections.abc import Iterator

from kernels import Kernel, dense_products, sparse_products

from model_kernels.common import Batch, projections, vectors
from model_kernels.layergcn import refined_layers


def step(model, batch: Batch) -> Iterator[Kernel]:
    size, n_views = model.embedding_size, len(model.rated_modalities)
    yield from dense_products(model.n_items, size, size)
    yield from projections(model, size)
    if model.propagation == "LayerGCN":
        yield from refined_layers(model, batch, n_views)
    elif model.propagation == "LightGCN":
        yield from sparse_products(model.training_graph, n_views * size, model.n_layers)
    yield from vectors(model, batch, n_views)
    yield from vectors(model, batch)
