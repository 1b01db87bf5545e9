"""Kernels of a training step of LATTICE."""

from __future__ import annotations

from collections.abc import Iterator

from kernels import Kernel, optimizer_step, similarities, sparse_products

from model_kernels.common import Batch, item_graphs, projections, stale_parameters, vectors


def step(model, batch: Batch) -> Iterator[Kernel]:
    yield from sparse_products(model.user_item_graph, model.embedding_size, model.n_layers)
    yield from item_graphs(model, model._training_graphs)
    yield from vectors(model, batch)


def epoch(model, batch: Batch) -> Iterator[Kernel]:
    """What the first step of an epoch needs besides: the graph is learned in it."""
    yield from projections(model, model.embedding_size)
    for _ in model.modalities:
        yield similarities(model.n_items, model.embedding_size)
    yield from optimizer_step(list(stale_parameters(model)))
