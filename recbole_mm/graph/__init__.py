"""User-item, item-item and user-user graphs, and the sparse operator that propagates over them."""

from recbole_mm.graph.bipartite import BipartiteGraph, EdgeSampler
from recbole_mm.graph.cache import GraphCache
from recbole_mm.graph.consistent import consistent_graphs, cooccurrence_graph
from recbole_mm.graph.emptiness import joins_nothing, tell_of_no_edges
from recbole_mm.graph.enhanced import agreeing_neighbors, enhanced_graph
from recbole_mm.graph.item_graph import combine, edgewise_maximum, knn_graph, knn_neighbors, masked_knn_graph
from recbole_mm.graph.operator import SparseOperator
from recbole_mm.graph.principal import principal_graph
from recbole_mm.graph.user_graph import UserGraphSampler, UserNeighbors, cooccurrence_neighbors

__all__ = [
    "BipartiteGraph",
    "EdgeSampler",
    "GraphCache",
    "SparseOperator",
    "UserGraphSampler",
    "UserNeighbors",
    "agreeing_neighbors",
    "combine",
    "consistent_graphs",
    "cooccurrence_graph",
    "cooccurrence_neighbors",
    "edgewise_maximum",
    "enhanced_graph",
    "joins_nothing",
    "knn_graph",
    "knn_neighbors",
    "masked_knn_graph",
    "principal_graph",
    "tell_of_no_edges",
]
