"""Kernels of a training step of ACF."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from kernels import Kernel, dense_products, gather, sparse_products_of_rows

from model_kernels.common import Batch, projections, vectors


def step(model, batch: Batch) -> Iterator[Kernel]:
    size, hidden, n_modalities = model.embedding_size, model.hidden_size, len(model.modalities)
    histories = model.graph.raw_block().to_scipy()[batch.users.unique().numpy()]
    items = torch.from_numpy(histories.indices).long()
    n_items = min(len(items.unique()), model.n_items)
    yield from projections(model, size, n_items)
    for _ in range(2 + 2 * n_modalities):
        yield from dense_products(n_items, size, hidden)
    yield from gather(items, model.n_items, (1 + 2 * n_modalities) * hidden)
    yield from sparse_products_of_rows(model.graph.raw_block(), size, batch.users)
    yield from vectors(model, batch)
