"""Kernels of a training step of MMSSL and its critic."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from kernels import Kernel, contrast, dense_products, optimizer_step, sparse_product, sparse_products

from model_kernels.common import Batch, projections, vectors


def step(model, batch: Batch) -> Iterator[Kernel]:
    settings, size, n_modalities = model.settings, model.embedding_size, len(model.modalities)
    graphs = (model.user_graph, model.item_graph_of_users)
    yield from projections(model, size)
    for graph in graphs:
        yield from sparse_products(graph, n_modalities * size)
        yield from sparse_products(graph, size, settings.n_layers)
    for graph in (graph for pair in model.modality_graphs for graph in pair if graph.nnz):
        yield from sparse_products(graph, size)
    if settings.contrast_weight:
        for _ in range(n_modalities):
            yield from contrast(batch.size, 2 * batch.size, size)
    yield from vectors(model, batch)
    if settings.adversarial_weight:
        yield from _critic(model, batch, graphs)


def _critic(model, batch: Batch, graphs) -> Iterator[Kernel]:
    """Rows of similarities, the critic's step with three passes, one differentiated twice, and its opinion."""
    size, n_modalities = model.embedding_size, len(model.modalities)
    for graph in graphs:  # without a gradient
        yield sparse_product(graph, n_modalities * size)
        yield sparse_product(graph, size, model.settings.n_layers)
    yield dense_products(batch.size, size, model.n_items)[0]  # of final vectors; those of features are of rank d
    first, *others = model.critic.layers
    n_rows, width = n_modalities * batch.size, n_modalities * size
    real = dense_products(batch.size, first.in_features, first.out_features)
    yield from real[:2]  # real rows are the same for all modalities
    steepness = dense_products(n_rows, first.out_features, first.in_features)
    yield from steepness
    for _ in range(2):  # fake rows, for the critic's step and for the model's
        yield from dense_products(first.out_features, first.in_features, width)[:2]
        yield from dense_products(n_rows, size, first.out_features)[:2]
    for layer in others:
        forward, to_weight, to_rows = dense_products(n_rows, layer.in_features, layer.out_features)
        yield from [forward] * 4 + [to_weight] * 4 + [to_rows] * 2
    yield from optimizer_step([torch.empty_like(parameter) for parameter in model.critic.parameters()])
