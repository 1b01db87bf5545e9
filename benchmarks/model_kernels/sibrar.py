"""Kernels of a training step of SiBraR."""

from __future__ import annotations

from collections.abc import Iterator

from kernels import Kernel, dense_products, projection, sparse_products_of_rows

from model_kernels.common import Batch


def step(model, batch: Batch) -> Iterator[Kernel]:
    """Of a batch whose rows are pairs with one negative item each: a slot less a row than the items there are."""
    n_pairs = batch.size // model.n_negatives or 1
    rows = 2 * (n_pairs + batch.size)
    n_items = len(batch.items[batch.size - n_pairs :].unique())
    common = model.projections[0].out_features
    yield from sparse_products_of_rows(model.item_columns, common, batch.items[batch.size - n_pairs :])
    if model.settings.user_encoder != "table":
        yield from sparse_products_of_rows(model.user_rows, model.embedding_size, batch.users[:n_pairs])
    for name in model.modalities:
        yield from projection(model.feature(name), common, n_items)
    for layer in model.branch.layers:
        yield from dense_products(rows, layer.in_features, layer.out_features)
