"""What the descriptions of several models share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from kernels import Kernel, gather, projection, sparse_products
from torch import Tensor

from recbole_mm.model.backbone_model import BackboneModel


class Batch:
    """Ids of a batch as the loader draws it: interactions of the training set, and any other items.

    Attributes:
        users: ``[batch]``.
        items: positives and negatives, ``[2 * batch]``.
        nodes: both as nodes of the user-item graph, ``[3 * batch]``.
        n_users, n_positives, n_items: how many distinct ones.
    """

    def __init__(self, model: torch.nn.Module, size: int):
        graph = model.backbone.graph if isinstance(model, BackboneModel) else model.graph
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


def stale_parameters(model: torch.nn.Module) -> Iterable[Tensor]:
    """Parameters that only the first step of an epoch trains (LATTICE, MICRO)."""
    return model.graph_parameters() if getattr(model, "stale_gradients", None) == "skip" else []


def vectors(model, batch: Batch, n_views: int = 1) -> Iterator[Kernel]:
    """The batch's rows of user and item vectors, views side by side."""
    width = n_views * model.embedding_size
    yield from gather(batch.users, model.n_users, width)
    yield from gather(batch.items, model.n_items, width)


def projections(model, width: int, n_rows: int | None = None) -> Iterator[Kernel]:
    """Each modality's features to one width: of all items, or of so many of the batch."""
    for name in model.modalities:
        yield from projection(model.feature(name), width, n_rows)


def item_graphs(model, graphs: Iterable) -> Iterator[Kernel]:
    """Propagation of the items' vectors over each graph."""
    for graph in graphs:
        yield from sparse_products(graph, model.embedding_size, model.n_item_layers)
