"""A model finds a graph on disk again only if nothing that the graph depends on has changed."""

from __future__ import annotations

import pytest

from recbole_mm.testing.toy import PRE_SPLIT, start, write_planted

SETTINGS = {**PRE_SPLIT, "embedding_size": 4, "knn_k": 3, "user_graph_width": 5}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two data sets of the same size."""
    widths = {"visual": 6, "textual": 4}
    return [write_planted(tmp_path_factory.mktemp(f"seed-{seed}"), widths, seed=seed) for seed in (0, 1)]


def graphs_after(folder, data_path, **settings) -> set[str]:
    """Names of the graph files there are once DRAGON is built."""
    start("DRAGON", data_path, **{**SETTINGS, "graph_dir": str(folder / "graphs"), **settings})
    return {file.name for file in (folder / "graphs").glob("*.npz")}


@pytest.mark.parametrize(
    ("changed", "new"),
    [
        ({}, set()),
        ({"learning_rate": 0.5}, set()),
        ({"modality_weights": [0.5, 0.5]}, set()),  # combined after they are read
        ({"knn_k": 4}, {"item-graph"}),
        ({"normalize_feature": True}, {"item-graph"}),
        ({"center_feature": True}, {"item-graph"}),
        ({"user_graph_width": 300}, {"user-neighbors"}),
    ],
)
def test_a_changed_setting(tmp_path, data, changed, new):
    before = graphs_after(tmp_path, data[0])
    assert kinds(before) == {"item-graph", "user-neighbors"}
    assert kinds(graphs_after(tmp_path, data[0], **changed) - before) == new


def test_other_features_and_interactions(tmp_path, data):
    before = graphs_after(tmp_path, data[0])
    assert kinds(graphs_after(tmp_path, data[1]) - before) == {"item-graph", "user-neighbors"}


def kinds(names: set[str]) -> set[str]:
    return {name.rsplit("-", 1)[0] for name in names}
