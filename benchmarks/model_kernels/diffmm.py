"""Kernels of a training step of DiffMM, and of the denoisers before an epoch."""

from __future__ import annotations

from collections.abc import Iterator

from kernels import Kernel, contrast, dense_products, sparse_products

from model_kernels.common import Batch, projections, vectors


def step(model, batch: Batch) -> Iterator[Kernel]:
    settings, size, n_modalities = model.settings, model.embedding_size, len(model.modalities)
    yield from projections(model, size)
    yield from sparse_products(model.user_item_graph, size, 2 + settings.n_layers)
    for graph in model.training_graphs:
        yield from sparse_products(graph, size, 2 if settings.contrast_weight else 1)
    if settings.contrast_weight:
        yield from sparse_products(model.user_item_graph, n_modalities * size, settings.n_layers)
        n_pairs = n_modalities * (n_modalities - 1) // 2 if settings.contrast == "modalities" else n_modalities
        for _ in range(n_pairs):
            yield from contrast(batch.n_users, model.n_users, size)
            yield from contrast(batch.n_positives, model.n_items, size)
    yield from vectors(model, batch)


def epoch(model, batch: Batch) -> Iterator[Kernel]:
    """All users through each denoiser, with a gradient once and without at each step of the diffusion."""
    settings = model.settings
    n_batches = -(-model.n_users // settings.denoiser_batch_size)
    rows = -(-model.n_users // n_batches)
    for _ in model.modalities:
        widths = (model.n_items, settings.denoiser_width)
        yield from dense_products(rows, *widths, trains_inputs=False, times=n_batches)
        yield from dense_products(rows, *widths[::-1], times=n_batches)
        for shape in (widths, widths[::-1]):
            yield dense_products(rows, *shape, times=n_batches * settings.diffusion_steps)[0]
