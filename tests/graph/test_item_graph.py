from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from recbole_mm.graph import SparseOperator, combine, edgewise_maximum, knn_graph, knn_neighbors

PAD = [0.0, 0.0]
# Cosines: items 1, 2: 0.6; 1, 3: 0; 2, 3: 0.8. The length of a row and the content of row 0 must not matter.
THREE_ITEMS = torch.tensor([[1.0, 1.0], [2.0, 0.0], [0.6, 0.8], [0.0, 5.0]], dtype=torch.float64)


def random_features(n_items: int = 61, width: int = 8, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(n_items, width, generator=torch.Generator().manual_seed(2), dtype=dtype)


def reference_neighbors(features: torch.Tensor, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Full dense cosine matrix without [PAD], a stable full sort per row, self moved to the front."""
    rows = features[1:].double().numpy()
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    cosine = unit @ unit.T
    keyed = cosine + 10 * np.eye(len(cosine))
    order = np.argsort(-keyed, axis=1, kind="stable")[:, :k]
    return order + 1, np.take_along_axis(cosine, order, axis=1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("block_bytes", [1, 4000, 1 << 20])
def test_neighbours_equal_a_full_sort_for_any_block_size(dtype, block_bytes):
    features = random_features(dtype=dtype)
    features[0] = torch.nan  # [PAD] is never read
    neighbors, cosines = knn_neighbors(features, 7, block_bytes=block_bytes)
    ids, values = reference_neighbors(features, 7)
    # Neighbouring cosines of this seed differ by more than float32 rounding (1e-7): the order is decided.
    np.testing.assert_array_equal(neighbors[1:], ids)
    np.testing.assert_allclose(cosines[1:], values, atol=1e-6 if dtype == torch.float32 else 1e-14)
    assert neighbors.shape == cosines.shape == (61, 7)
    assert not neighbors[0].any() and not cosines[0].any()


@pytest.mark.parametrize("scale", [1e-44, 1e-30, 1e-20, 1e-12, 1e12, 1e20, 1e37])
@pytest.mark.parametrize("of_all", [True, False])
def test_neighbours_are_those_of_any_scale(scale, of_all):
    """Squares of the first and last are beyond float32; directions are not."""
    exact = torch.tensor([[0, 0, 0], [1, 2, 3], [1, 2, 4], [-3, 1, 1], [5, 1, 0], [-6, 2, 1]], dtype=torch.float64)
    features = exact.clone()
    features[slice(None) if of_all else slice(2, 4)] *= scale
    neighbors, cosines = knn_neighbors(features.float(), 3)
    ids, values = reference_neighbors(exact, 3)
    np.testing.assert_array_equal(neighbors[1:], ids)
    np.testing.assert_allclose(cosines[1:], values, atol=1e-6 if scale > 1e-40 else 0.2)  # a denormal has one digit


def test_self_comes_first_with_cosine_one():
    neighbors, cosines = knn_neighbors(random_features(dtype=torch.float32), 3)
    assert neighbors[1:, 0].tolist() == list(range(1, 61))
    assert (cosines[1:, 0] == 1).all() and (cosines <= 1).all()


def test_half_precision_is_computed_in_float32():
    features = random_features().half()
    for half, full in zip(*(knn_neighbors(table, 4) for table in (features, features.float())), strict=True):
        assert torch.equal(half, full)


@pytest.mark.parametrize("block_bytes", [1, 1 << 20])
def test_equal_cosines_go_to_the_smaller_id(block_bytes):
    neighbors, _ = knn_neighbors(torch.ones(6, 4), 3, block_bytes=block_bytes)
    assert neighbors[1:].tolist() == [[1, 2, 3], [2, 1, 3], [3, 1, 2], [4, 1, 2], [5, 1, 2]]
    groups = torch.tensor([PAD, [1, 0], [0, 1], [1, 0], [0, 1], [1, 0], [1, 0]], dtype=torch.float64)
    neighbors, cosines = knn_neighbors(groups, 3, block_bytes=block_bytes)
    assert neighbors[1:].tolist() == [[1, 3, 5], [2, 4, 1], [3, 1, 5], [4, 2, 1], [5, 1, 3], [6, 1, 3]]
    assert cosines[2].tolist() == [1, 1, 0]


def test_item_without_direction_is_linked_to_itself_only():
    features = torch.tensor([[9.0, 9.0], [1, 0], [0, 0], [-1, 0.1], [1, 1]])
    neighbors, cosines = knn_neighbors(features, 4)
    assert neighbors[2].tolist() == [2, 0, 0, 0] and cosines[2].tolist() == [1, 0, 0, 0]
    assert neighbors[1].tolist() == [1, 4, 3, 0] and cosines[1, 3] == 0
    assert (neighbors[[1, 3, 4]] != 2).all()
    for weighting in ("binary", "similarity", "inverse_sqrt_k"):
        dense = knn_graph(features, 4, weighting).to_dense()
        assert torch.isfinite(dense).all()
        assert dense[2].tolist() == [0, 0, 1, 0, 0] and dense[:, 2].tolist() == [0, 0, 1, 0, 0]


def test_binary_rows_are_the_mean_over_k_neighbours():
    operator = knn_graph(random_features(), 5, "binary")
    assert operator.nnz == 60 * 5
    np.testing.assert_allclose(operator.to_scipy().data, 1 / 5, rtol=1e-14)
    assert operator.row_sums()[1:].tolist() == pytest.approx([1.0] * 60)
    dense = operator.to_dense()
    assert not dense[0].any() and not dense[:, 0].any()
    assert not torch.equal(dense, dense.T) and operator.symmetric is False
    ids, _ = reference_neighbors(random_features(), 5)
    assert all(set(torch.nonzero(dense[item + 1]).flatten().tolist()) == set(ids[item]) for item in range(60))


def test_similarity_weighting_by_hand():
    dense = knn_graph(THREE_ITEMS, 2, "similarity").to_dense()
    expected = torch.zeros(4, 4, dtype=torch.float64)
    expected[1, 1], expected[1, 2] = 1 / 1.6, 0.6 / math.sqrt(1.6 * 1.8)  # kept row sums 1.6, 1.8, 1.8
    expected[2, 2], expected[2, 3] = 1 / 1.8, 0.8 / 1.8
    expected[3, 3], expected[3, 2] = 1 / 1.8, 0.8 / 1.8
    torch.testing.assert_close(dense, expected)


def test_similarity_row_sums_that_are_not_positive_give_zeros():
    opposite = torch.tensor([PAD, [1, 0], [-1, 0], [-2, 0]])
    dense = knn_graph(opposite, 3, "similarity").to_dense()  # row sums -1, 1, 1
    assert dense.tolist() == [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]
    assert not knn_graph(opposite[:3], 2, "similarity").to_dense().any()  # row sums 0, 0


def test_inverse_sqrt_k_weighting():
    dense = knn_graph(THREE_ITEMS, 2, "inverse_sqrt_k").to_dense()
    linked = torch.tensor([[0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1], [0, 0, 1, 1]])
    torch.testing.assert_close(dense, linked.double() / math.sqrt(2))


def test_gradient_through_an_item_graph():
    operator = knn_graph(random_features(9), 3, "similarity")
    x = random_features(9, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: operator @ x, x)


def test_k_may_be_the_number_of_items_and_no_more():
    assert knn_graph(THREE_ITEMS, 3, "binary").row_sums().tolist() == pytest.approx([0, 1, 1, 1])
    for k in (0, 4):
        with pytest.raises(ValueError, match=f"k = {k} neighbours needs 1 <= k <= 3"):
            knn_neighbors(THREE_ITEMS, k)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (torch.ones(5), "floating matrix"),
        (torch.ones(5, 2, dtype=torch.long), "floating matrix"),
        (torch.tensor([PAD, [1, 2], [3, math.inf]]), "item id 2 are not finite"),
        (torch.tensor([PAD, [1, math.nan], [3, 1]]), "item id 1 are not finite"),
    ],
)
def test_bad_features_are_refused(features, message):
    with pytest.raises(ValueError, match=message):
        knn_neighbors(features, 1)


def test_unknown_weighting_is_refused():
    with pytest.raises(ValueError, match="choose one of binary, similarity, inverse_sqrt_k"):
        knn_graph(THREE_ITEMS, 2, "cosine")


def graph_of(entries: dict[tuple[int, int], float]) -> SparseOperator:
    rows, cols = zip(*entries, strict=True)
    return SparseOperator.from_coo(rows, cols, list(entries.values()), (3, 3))


def test_combine_is_the_weighted_sum():
    first, second = graph_of({(1, 1): 1.0, (1, 2): 2.0}), graph_of({(1, 2): 4.0, (2, 1): -1.0})
    combined = combine([first, second], [0.1, 0.9]).to_dense()
    assert combined[1].tolist() == pytest.approx([0, 0.1, 3.8]) and combined[2].tolist() == pytest.approx(
        [0, -0.9, 0]
    )
    torch.testing.assert_close(combined, 0.1 * first.to_dense() + 0.9 * second.to_dense())


def test_edgewise_maximum_keeps_negative_edges_of_one_graph():
    first = graph_of({(1, 1): 0.5, (1, 2): -0.3, (2, 2): 0.2})
    second = graph_of({(1, 1): 0.7, (2, 1): -0.1, (2, 2): -0.4})
    fused = edgewise_maximum([first, second])
    assert fused.to_dense().tolist() == [[0, 0, 0], [0, 0.7, -0.3], [0, -0.1, 0.2]]
    assert fused.nnz == 4
    assert torch.equal(edgewise_maximum([second, first]).to_dense(), fused.to_dense())


def test_combination_of_graphs_that_do_not_fit_is_refused():
    other = SparseOperator.from_coo([0], [0], [1.0], (2, 2))
    for graphs in ([graph_of({(1, 1): 1.0}), other], []):
        with pytest.raises(ValueError, match="one shape"):
            edgewise_maximum(graphs)
    with pytest.raises(ValueError, match="as many weights, not 1"):
        combine([other, other], [1.0])
