"""Kernels of a training step of LayerGCN."""

from __future__ import annotations

from collections.abc import Iterator

from kernels import Kernel, sparse_products, sparse_products_of_rows

from model_kernels.common import Batch, vectors


def step(model, batch: Batch) -> Iterator[Kernel]:
    yield from refined_layers(model, batch, 1)
    yield from vectors(model, batch)
    yield from vectors(model, batch)  # the regularised ID rows


def refined_layers(model, batch: Batch, n_views: int) -> Iterator[Kernel]:
    """LayerGCN's layers, of which the last is needed for the batch's nodes alone."""
    width = n_views * model.embedding_size
    if model.n_layers > 1:
        yield from sparse_products(model.training_graph, width, model.n_layers - 1)
    yield from sparse_products_of_rows(model.training_graph, width, batch.nodes)
