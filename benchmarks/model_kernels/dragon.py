"""Kernels of a training step of DRAGON."""

from __future__ import annotations

from collections.abc import Iterator

from kernels import Kernel, sparse_products, sparse_products_of_rows

from model_kernels.common import Batch, vectors
from model_kernels.dualgnn import dual_graph


def step(model, batch: Batch) -> Iterator[Kernel]:
    width = len(model.modalities) * model.embedding_size
    yield from dual_graph(model, batch)
    yield from sparse_products(model.fused_item_graph, width, model.n_item_layers)
    yield from sparse_products_of_rows(model.user_graph, width, batch.users)
    yield from vectors(model, batch, len(model.modalities))
