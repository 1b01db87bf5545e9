"""Kernels of a training step of MMGCN."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from kernels import Kernel, dense_products, projection, sparse_products

from model_kernels.common import Batch, vectors


def step(model, batch: Batch) -> Iterator[Kernel]:
    size, trained = model.embedding_size, not model.frozen_tables
    for name, content, layers in zip(
        model.modalities, model.content_projections, model.networks, strict=True
    ):
        if isinstance(content, torch.nn.Linear):
            yield from projection(model.feature(name), content.out_features)
        for depth, layer in enumerate(layers):
            width = layer.message.in_features
            for rows, mean in ((model.n_users, model.user_mean), (model.n_items, model.item_mean)):
                yield from sparse_products(mean, width)
                yield from dense_products(min(mean.shape), width, width, trains_inputs=trained or depth > 0)
                yield from dense_products(rows, width, size, trains_inputs=trained or depth > 0)
                yield from dense_products(rows, layer.fusion.in_features, size)
    yield from vectors(model, batch)
