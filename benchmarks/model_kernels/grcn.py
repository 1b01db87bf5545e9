"""Kernels of a training step of GRCN."""

from __future__ import annotations

from collections.abc import Iterator

from kernels import Kernel, sparse_product, sparse_products

from model_kernels.common import Batch, projections, vectors


def step(model, batch: Batch) -> Iterator[Kernel]:
    yield from projections(model, model.embedding_size)
    edges = model.graph.raw_block()
    # Dots of edges and sums over them are products with the graph, and twice as many for the gradients, one of
    # which is turned round. The last dots are for both directions.
    n_modalities, to_users = len(model.modalities), model.n_routings + 1
    yield sparse_product(edges, model.embedding_size, n_modalities * (4 * to_users + 1))
    yield sparse_product(edges.transpose(), model.embedding_size, n_modalities * (2 * to_users + 2))
    yield from sparse_products(
        edges, model.embedding_size, 3 * model.n_layers
    )  # with the gradient of the weights
    yield from vectors(model, batch, 1 + len(model.modalities))
