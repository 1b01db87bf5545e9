"""Kernels of a training step of BUIR."""

from __future__ import annotations

from collections.abc import Iterator

from kernels import Kernel, gather, sparse_product, sparse_products

from model_kernels.common import Batch


def step(model, batch: Batch) -> Iterator[Kernel]:
    yield from sparse_products(model.full_graph, model.embedding_size, model.n_layers)
    yield sparse_product(
        model.full_graph, model.embedding_size, model.n_layers
    )  # the target, without a gradient
    yield from gather(batch.users, model.n_users, model.embedding_size)
    yield from gather(batch.positives, model.n_items, model.embedding_size)
