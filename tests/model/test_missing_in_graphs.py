"""Items without features in item graphs: each keeps itself alone, since the rows made up for them are alike."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recbole_mm.testing.toy import PRE_SPLIT, Run, start, write_planted

WITHOUT = ["i3", "i8", "i29"]  # the last has none from the start
K = 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three of 30 items have no visual features."""
    folder = write_planted(tmp_path_factory.mktemp("missing"), {"visual": 6, "textual": 4})
    file = folder / "toy" / "toy.visual"
    lines = [line for line in file.read_text().splitlines() if line.split("\t")[0] not in WITHOUT]
    file.write_text("\n".join(lines) + "\n")
    return folder


def started(model: str, folder, **settings) -> Run:
    return start(model, folder, **{**PRE_SPLIT, "knn_k": K, "embedding_size": 6, **settings})


def dense(graph) -> np.ndarray:
    return graph.to_scipy().toarray()


def assert_alone(matrix: np.ndarray, run: Run, weight: float | None = 1.0) -> None:
    """Those items have an entry of their own alone; the others have neighbours, none of them."""
    ids = run.dataset.token2id("item_id", WITHOUT)
    others = np.setdiff1d(np.arange(1, len(matrix)), ids)
    own = matrix[np.ix_(ids, ids)]
    assert np.count_nonzero(own - np.diag(np.diag(own))) == 0 and not matrix[np.ix_(ids, others)].any()
    assert not matrix[np.ix_(others, ids)].any()
    assert (np.count_nonzero(matrix[others], axis=1) > 1).all()
    if weight is not None:
        np.testing.assert_allclose(np.diag(own), weight)


@pytest.mark.parametrize("policy", ["mean", "zero"])
@pytest.mark.parametrize("weighting", ["binary", "similarity", "inverse_sqrt_k"])
def test_neighbours(folder, weighting, policy):
    run = started("FREEDOM", folder, missing_modality=policy)
    matrix = dense(run.model.item_graph("visual", K, weighting))
    assert_alone(matrix, run)
    others = np.setdiff1d(np.arange(1, len(matrix)), run.dataset.token2id("item_id", WITHOUT))
    assert (np.count_nonzero(matrix[others], axis=1) == K).all()  # their places go to items that have features


def test_neighbours_are_those_of_a_catalogue_without_these_items(folder):
    """Nothing else changes: the graph of the others is the graph of their features alone."""
    run = started("FREEDOM", folder)
    ids = np.setdiff1d(np.arange(1, run.model.n_items), run.dataset.token2id("item_id", WITHOUT))
    features = run.dataset.modality_feature("visual")[ids].double().numpy()
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    nearest = np.argsort(-(unit @ unit.T), axis=1, kind="stable")[:, :K]
    expected = np.zeros((len(ids), len(ids)))
    np.put_along_axis(expected, nearest, 1 / K, axis=1)
    kept = dense(run.model.item_graph("visual", K, "binary"))[np.ix_(ids, ids)]
    np.testing.assert_allclose(kept, expected, rtol=1e-6)


@pytest.mark.parametrize("model", ["LATTICE", "MICRO"])
def test_learned_graphs(folder, model):
    run = started(model, folder, modalities=["visual"])
    (graph,) = run.model.build_graphs()
    n_items = run.model.n_items
    learned = torch.zeros(n_items, n_items).scatter_add_(1, graph.neighbors, graph.values.detach())
    own = (1 - run.model.raw_graph_weight) * torch.ones(len(WITHOUT))
    torch.testing.assert_close(learned.diagonal()[run.dataset.token2id("item_id", WITHOUT)], own)
    assert_alone(learned.numpy(), run, weight=None)


def test_pairs_that_all_modalities_agree_on(folder):
    run = started("DAMRS", folder)
    for graph in run.model.item_graphs[:-1]:
        matrix = dense(graph)
        ids = run.dataset.token2id("item_id", WITHOUT)
        assert (np.count_nonzero(matrix[ids], axis=1) == 1).all() and (np.diag(matrix)[ids] > 0.99).all()
