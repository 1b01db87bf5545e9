"""A model finds a graph on disk again only if nothing that the graph depends on has changed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recbole_mm.io.reading import read_npz
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


def without_one(file: Path, arrays: dict[str, np.ndarray]) -> None:
    arrays.popitem()
    np.savez(file, **arrays)


def with_one_more(file: Path, arrays: dict[str, np.ndarray]) -> None:
    np.savez(file, more=np.zeros(3), **arrays)


def of_a_scalar(file: Path, arrays: dict[str, np.ndarray]) -> None:
    np.savez(file, **{name: np.zeros(()) for name in arrays})


def of_texts(file: Path, arrays: dict[str, np.ndarray]) -> None:
    np.savez(file, **{name: array.astype(str) for name, array in arrays.items()})


def beyond_the_nodes(file: Path, arrays: dict[str, np.ndarray]) -> None:
    np.savez(file, **{name: array + 10**6 for name, array in arrays.items()})


def beyond_32_bits(file: Path, arrays: dict[str, np.ndarray]) -> None:
    first = next(iter(arrays))
    np.savez(file, **{name: array.astype(np.int64) << 40 if name == first else array for name, array in arrays.items()})


def compressed(file: Path, arrays: dict[str, np.ndarray]) -> None:
    np.savez_compressed(file, **{name: np.zeros(10**5) for name in arrays})


FORGERIES = (without_one, with_one_more, of_a_scalar, of_texts, beyond_the_nodes, beyond_32_bits, compressed)
KEYS = {
    "FREEDOM": {}, "DRAGON": {"user_graph_width": 5}, "DAMRS": {}, "DGMRec": {},
    "PGL": {"principal_graph": "global", "svd_rank": 8},
}  # fmt: skip


@pytest.mark.parametrize("model", KEYS)
def test_a_forged_graph_is_built_again(tmp_path, data, model):
    """What cannot be a graph of this model's is taken for damage, and the file is written anew."""
    settings = {**PRE_SPLIT, "embedding_size": 4, "knn_k": 3, "graph_dir": str(tmp_path / "graphs"), **KEYS[model]}
    start(model, data[0], **settings)
    whole = {file: read_npz(file) for file in sorted((tmp_path / "graphs").glob("*.npz"))}
    assert whole
    for forge in FORGERIES:
        for file, arrays in whole.items():
            forge(file, dict(arrays))
        start(model, data[0], **settings)
        for file, arrays in whole.items():
            again = read_npz(file)
            kept = again.keys() == arrays.keys() and all(np.array_equal(again[name], arrays[name]) for name in arrays)
            assert kept or (forge, model) == (with_one_more, "DAMRS"), f"{file.name} {forge.__name__}"
