"""Which kernels a training step of each model cannot avoid: :data:`MODEL_KERNELS`, one short function per
model. :data:`EPOCH_KERNELS` has what the first step of an epoch needs besides, where a model learns a graph in it.

Counted are sparse products, dense products, gathers and the optimizer's step, at their widths, for the rows
that the model's mathematics needs. Element-wise work is left out: at best it is done in passing. So are
small products of a batch's rows, the drawing of an epoch's graphs, and all costs of the framework, of memory
and of the loader. A floor never counts work that the model itself avoids.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
from kernels import (
    Kernel,
    contrast,
    dense_products,
    gather,
    optimizer_step,
    projection,
    similarities,
    sparse_product,
    sparse_products,
    sparse_products_of_rows,
)
from torch import Tensor


class Batch:
    """Ids of a batch as the loader draws it: interactions of the training set, and any other items.

    Attributes:
        users: ``[batch]``.
        items: positives and negatives, ``[2 * batch]``.
        nodes: both as nodes of the user-item graph, ``[3 * batch]``.
        n_users, n_positives, n_items: how many distinct ones.
    """

    def __init__(self, model: torch.nn.Module, size: int):
        graph = model.graph
        picked = torch.randint(graph.n_edges, (size,))
        self.size = size
        self.users, self.positives = (
            torch.from_numpy(graph.users)[picked],
            torch.from_numpy(graph.items)[picked],
        )
        self.items = torch.cat([self.positives, torch.randint(1, graph.n_items, (size,))])
        self.nodes = torch.cat([self.users, self.items + graph.n_users])
        self.n_users, self.n_positives = len(self.users.unique()), len(self.positives.unique())
        self.n_items = len(self.items.unique())


Description = Callable[[torch.nn.Module, Batch], Iterable[Kernel]]
MODEL_KERNELS: dict[str, Description] = {}
EPOCH_KERNELS: dict[str, Description] = {}


def describes(
    *models: str, into: dict[str, Description] = MODEL_KERNELS
) -> Callable[[Description], Description]:
    """Enter a function as the description of the models of these class names."""

    def enter(description: Description) -> Description:
        into.update(dict.fromkeys(models, description))
        return description

    return enter


def kernels_of(model: torch.nn.Module, batch_size: int) -> list[Kernel]:
    """All kernels of a training step, not the first of its epoch; ValueError where the model is not
    described.

    To be called after an epoch's first step: what the model draws anew each epoch is there then.
    """
    name = type(model).__name__
    require_description(name)
    stale = {id(one) for one in _stale_parameters(model)}
    trained = [one for one in model.parameters() if one.requires_grad and id(one) not in stale]
    return [*MODEL_KERNELS[name](model, Batch(model, batch_size)), *optimizer_step(trained)]


def kernels_of_epoch(model: torch.nn.Module, batch_size: int) -> list[Kernel]:
    """The kernels that the first step of an epoch needs besides those of every step; none for most models."""
    description = EPOCH_KERNELS.get(type(model).__name__)
    return list(description(model, Batch(model, batch_size))) if description else []


def require_description(name: str) -> None:
    """Raise ValueError for a model without an entry in MODEL_KERNELS."""
    if name not in MODEL_KERNELS:
        raise ValueError(
            f"{name} is not described in benchmarks/model_kernels.py; add its kernels to MODEL_KERNELS there"
        )


def _stale_parameters(model: torch.nn.Module) -> Iterable[Tensor]:
    """Parameters that only the first step of an epoch trains (LATTICE, MICRO)."""
    return model.graph_parameters() if getattr(model, "stale_gradients", None) == "skip" else []


# ---------------------------------------------------------------- what several models share


def _vectors(model, batch: Batch, n_views: int = 1) -> Iterator[Kernel]:
    """The batch's rows of user and item vectors, views side by side."""
    width = n_views * model.embedding_size
    yield from gather(batch.users, model.n_users, width)
    yield from gather(batch.items, model.n_items, width)


def _projections(model, width: int, n_rows: int | None = None) -> Iterator[Kernel]:
    """Each modality's features to one width: of all items, or of so many of the batch."""
    for name in model.modalities:
        yield from projection(model.feature(name), width, n_rows)


def _item_graphs(model, graphs: Iterable) -> Iterator[Kernel]:
    for graph in graphs:
        yield from sparse_products(graph, model.embedding_size, model.n_item_layers)


# ---------------------------------------------------------------- the models


@describes("LayerGCN")
def _layer_gcn(model, batch: Batch) -> Iterator[Kernel]:
    yield from _refined_layers(model, batch, 1)
    yield from _vectors(model, batch)
    yield from _vectors(model, batch)  # the regularised ID rows


def _refined_layers(model, batch: Batch, n_views: int) -> Iterator[Kernel]:
    width = n_views * model.embedding_size
    if model.n_layers > 1:
        yield from sparse_products(model.training_graph, width, model.n_layers - 1)
    yield from sparse_products_of_rows(model.training_graph, width, batch.nodes)


@describes("POWERec")
def _powerec(model, batch: Batch) -> Iterator[Kernel]:
    size, n_views = model.embedding_size, len(model.rated_modalities)
    yield from dense_products(model.n_items, size, size)
    yield from _projections(model, size)
    if model.backbone == "LayerGCN":
        yield from _refined_layers(model, batch, n_views)
    elif model.backbone == "LightGCN":
        yield from sparse_products(model.training_graph, n_views * size, model.n_layers)
    yield from _vectors(model, batch, n_views)
    yield from _vectors(model, batch)


@describes("VBPR")
def _vbpr(model, batch: Batch) -> Iterator[Kernel]:
    yield from _projections(model, model.embedding_size, batch.n_items)
    yield from _vectors(model, batch, 2)


@describes("ACF")
def _acf(model, batch: Batch) -> Iterator[Kernel]:
    size, hidden, n_modalities = model.embedding_size, model.hidden_size, len(model.modalities)
    histories = model.graph.raw_block().to_scipy()[batch.users.unique().numpy()]
    items = torch.from_numpy(histories.indices).long()
    n_items = min(len(items.unique()), model.n_items)
    yield from _projections(model, size, n_items)
    for _ in range(2 + 2 * n_modalities):
        yield from dense_products(n_items, size, hidden)
    yield from gather(items, model.n_items, (1 + 2 * n_modalities) * hidden)
    yield from sparse_products_of_rows(model.graph.raw_block(), size, batch.users)
    yield from _vectors(model, batch)


@describes("MMGCN")
def _mmgcn(model, batch: Batch) -> Iterator[Kernel]:
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
    yield from _vectors(model, batch)


@describes("GRCN")
def _grcn(model, batch: Batch) -> Iterator[Kernel]:
    yield from _projections(model, model.embedding_size)
    edges = model.graph.raw_block()
    # Dots of edges and sums over them are products with the graph, and twice as many for the gradients, one of
    # which is turned round. The last dots are for both directions.
    n_modalities, to_users = len(model.modalities), model.n_routings + 1
    yield sparse_product(edges, model.embedding_size, n_modalities * (4 * to_users + 1))
    yield sparse_product(edges.transpose(), model.embedding_size, n_modalities * (2 * to_users + 2))
    yield from sparse_products(
        edges, model.embedding_size, 3 * model.n_layers
    )  # with the gradient of the weights
    yield from _vectors(model, batch, 1 + len(model.modalities))


def _dual_graph(model, batch: Batch) -> Iterator[Kernel]:
    size = model.embedding_size
    for name, layers in zip(model.modalities, model.projections, strict=True):
        hidden = layers[0].out_features
        yield from projection(model.feature(name), hidden)
        yield from dense_products(model.n_items, hidden, size)
    yield from sparse_products(model.user_item_graph, len(model.modalities) * size, model.n_layers)


@describes("DualGNN")
def _dualgnn(model, batch: Batch) -> Iterator[Kernel]:
    yield from _dual_graph(model, batch)
    yield from sparse_products_of_rows(model.user_graph, model.embedding_size, batch.users)
    yield from _vectors(model, batch, len(model.modalities))


@describes("DRAGON")
def _dragon(model, batch: Batch) -> Iterator[Kernel]:
    width = len(model.modalities) * model.embedding_size
    yield from _dual_graph(model, batch)
    yield from sparse_products(model.fused_item_graph, width, model.n_item_layers)
    yield from sparse_products_of_rows(model.user_graph, width, batch.users)
    yield from _vectors(model, batch, len(model.modalities))


@describes("SLMRec")
def _slmrec(model, batch: Batch) -> Iterator[Kernel]:
    size, n_views = model.embedding_size, 1 + len(model.modalities)
    yield from _projections(model, size)
    yield from sparse_products(model.to_users, size, model.n_layers)
    yield from sparse_products(model.to_users, n_views * size, model.n_layers)
    yield from _vectors(model, batch, n_views)
    for _ in ("users", "items"):
        yield from dense_products(batch.size, n_views * size, size)
    yield from contrast(batch.n_users, batch.n_positives, size)
    for width in (size, *(size // 2 for _ in model.modalities[1:])):
        yield from contrast(batch.n_positives, batch.n_positives, width)


@describes("LATTICE")
def _lattice(model, batch: Batch) -> Iterator[Kernel]:
    yield from sparse_products(model.user_item_graph, model.embedding_size, model.n_layers)
    yield from _item_graphs(model, model._training_graphs)
    yield from _vectors(model, batch)


@describes("LATTICE", "MICRO", into=EPOCH_KERNELS)
def _learned_graphs(model, batch: Batch) -> Iterator[Kernel]:
    yield from _projections(model, model.embedding_size)
    for _ in model.modalities:
        yield similarities(model.n_items, model.embedding_size)
    yield from optimizer_step(list(_stale_parameters(model)))


@describes("MICRO")
def _micro(model, batch: Batch) -> Iterator[Kernel]:
    yield from _lattice(model, batch)
    for _ in model.modalities:
        yield from dense_products(model.n_items, model.embedding_size, model.embedding_size)
        yield from contrast(model.n_items, 2 * model.n_items, model.embedding_size)


@describes("BM3")
def _bm3(model, batch: Batch) -> Iterator[Kernel]:
    n_positives = len(batch.positives.unique())
    yield from sparse_products(model.full_graph, model.embedding_size, model.n_layers)
    yield from _projections(model, model.embedding_size, n_positives)
    yield from gather(batch.users, model.n_users, model.embedding_size)
    yield from gather(batch.positives, model.n_items, model.embedding_size)


@describes("FREEDOM")
def _freedom(model, batch: Batch) -> Iterator[Kernel]:
    yield from sparse_products(model.training_graph, model.embedding_size, model.n_layers)
    yield from _item_graphs(model, [model.fused_item_graph])
    yield from _projections(model, model.embedding_size, batch.n_items)
    yield from _vectors(model, batch)


@describes("MGCN", "SMORE")
def _mgcn(model, batch: Batch) -> Iterator[Kernel]:
    size, n_views = model.embedding_size, len(model.item_graphs)
    yield from sparse_products(model.full_graph, size, model.n_layers)
    yield from _projections(model, size)
    for graph in model.item_graphs:
        yield from dense_products(model.n_items, size, size)
        yield from sparse_products(graph, size)
    yield from sparse_products_of_rows(model.user_item_block, n_views * size, batch.users)
    n_rows = batch.n_users + batch.n_items
    yield from dense_products(n_rows, size, n_views * size)
    yield from dense_products(n_rows * n_views, size, size)
    yield from _vectors(model, batch)
    for n_rows in (batch.n_users, batch.n_positives):
        yield from contrast(n_rows, n_rows, size)


@describes("LGMRec")
def _lgmrec(model, batch: Batch) -> Iterator[Kernel]:
    size, n_modalities, n_hyperedges = model.embedding_size, len(model.modalities), model.n_hyperedges
    yield from _projections(model, size + n_hyperedges)
    yield from sparse_products(model.mean_of_items, n_modalities * size)
    yield from sparse_products(model.symmetric, n_modalities * size, model.n_mm_layers)
    yield from sparse_products(model.symmetric, size, model.n_layers)
    yield from sparse_products(model.interactions, n_modalities * n_hyperedges)
    yield from gather(batch.nodes, model.graph.n_nodes, (1 + n_modalities) * size)
    if model.contrast_weight:
        for _ in range(n_modalities * (n_modalities - 1) // 2):
            yield from contrast(batch.n_users, model.n_users, n_hyperedges)
            yield from contrast(batch.n_positives, model.n_items, n_hyperedges)


@describes("BUIR")
def _buir(model, batch: Batch) -> Iterator[Kernel]:
    yield from sparse_products(model.full_graph, model.embedding_size, model.n_layers)
    yield sparse_product(
        model.full_graph, model.embedding_size, model.n_layers
    )  # the target, without a gradient
    yield from gather(batch.users, model.n_users, model.embedding_size)
    yield from gather(batch.positives, model.n_items, model.embedding_size)


@describes("LUDP")
def _ludp(model, batch: Batch) -> Iterator[Kernel]:
    size = model.embedding_size
    yield from sparse_products(model.symmetric, size, model.n_layers)
    if model.has_item_graph:
        yield from _item_graphs(model, model.item_graphs)
    if model.has_user_preference:
        width = model.projections[0].out_features
        yield from _projections(model, width)
        yield from sparse_products_of_rows(model.mean_of_items, len(model.modalities) * width, batch.users)
    yield from _vectors(model, batch)


@describes("MARGO")
def _margo(model, batch: Batch) -> Iterable[Kernel]:
    return MODEL_KERNELS[type(model.backbone).__name__](model.backbone, batch)
