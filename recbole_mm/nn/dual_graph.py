"""What DualGNN and DRAGON share: users and items of each modality propagated over the user-item graph."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recbole_mm.graph import SparseOperator
from recbole_mm.nn.normalise import l2_normalise
from recbole_mm.nn.propagation import light_gcn
from recbole_mm.nn.user_embedding import id_table


def two_layer_projection(width: int, embedding_size: int) -> nn.Sequential:
    """Features ``[n, width]`` to ``[n, d]`` through a hidden layer of 4d units with LeakyReLU."""
    hidden = 4 * embedding_size
    return nn.Sequential(
        nn.Linear(width, hidden), nn.LeakyReLU(inplace=True), nn.Linear(hidden, embedding_size)
    )


class NodeEncoder(nn.Module):
    """A user table and a projection of item features, a branch's nodes before their rows have unit length.

    Args:
        n_users: rows of the table, [PAD] included.
        width: of the features.
        embedding_size: d.
    """

    def __init__(self, n_users: int, width: int, embedding_size: int):
        super().__init__()
        self.preference = id_table(n_users, embedding_size, nn.init.xavier_normal_)
        self.projection = two_layer_projection(width, embedding_size)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Users ``[n_users, d]`` and items ``[n_items, d]`` from features ``[n_items, width]``."""
        return self.preference, self.projection(features)


def propagate_modalities(
    graph: SparseOperator, users: Tensor, items: Tensor, n_layers: int
) -> tuple[Tensor, Tensor]:
    """``R^m = x + G x + ... + G^L x`` from nodes of unit length, all modalities in one product.

    Args:
        graph: G, ``[n_users + n_items, n_users + n_items]``.
        users, items: ``[n_users, M, d]`` and ``[n_items, M, d]``.
        n_layers: L.

    Returns:
        users and items of the same shapes.
    """
    nodes = l2_normalise(torch.cat([users, items]))
    nodes = light_gcn(graph, nodes.flatten(1), n_layers, readout="sum").view(nodes.shape)
    return nodes.split([len(users), len(items)])


def fusion_weights(rows: int, n_modalities: int) -> nn.Parameter:
    """Free weights of each row's modalities, ``[rows, M]``; [PAD] is row 0 and zero.

    They start as the softmax over the modalities of a Xavier normal draw ``[rows, M, 1]``, close to 1 / M,
    and are plain parameters from then on.
    """
    weights = torch.zeros(rows, n_modalities)
    draw = nn.init.xavier_normal_(torch.empty(rows - 1, n_modalities, 1))
    weights[1:] = draw.squeeze(-1).softmax(dim=-1)
    return nn.Parameter(weights)
