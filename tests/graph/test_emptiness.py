"""Graphs without edges are told of, by all models that make one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from recbole_mm.graph import SparseOperator, joins_nothing
from recbole_mm.graph.emptiness import _tell
from recbole_mm.testing.toy import PRE_SPLIT, start, write_dataset, write_planted


@pytest.mark.parametrize(
    ("matrix", "is_empty"),
    [
        (np.zeros((3, 3)), True),
        (np.eye(3), True),
        (np.diag([0, 1, 0]), True),
        (np.eye(3)[[1, 0, 2]], False),
        (np.eye(3) + np.eye(3, k=1), False),
        (np.zeros((2, 3)), True),
        (np.eye(2, 3), False),
    ],
)
def test_what_joins_nothing(matrix, is_empty):
    assert joins_nothing(SparseOperator.from_scipy(sp.csr_matrix(matrix))) is is_empty


@pytest.fixture(scope="module")
def planted(tmp_path_factory) -> Path:
    return write_planted(tmp_path_factory.mktemp("planted"), {"visual": 6, "textual": 4})


@pytest.fixture(scope="module")
def apart(tmp_path_factory) -> Path:
    """Twelve users without a common item, whose items' neighbours differ between the modalities."""
    items = [f"i{number}" for number in range(36)]
    splits = {
        split: [(f"u{number % 12}", item) for number, item in enumerate(items[start : start + 12])]
        for split, start in (("train", 0), ("valid", 12), ("test", 24))
    }
    angles = {"visual": [i // 2 for i in range(36)], "textual": [(i + 1) // 2 % 18 for i in range(36)]}
    features = {
        name: {item: np.eye(18)[place] for item, place in zip(items, places, strict=True)}
        for name, places in angles.items()
    }
    return write_dataset(tmp_path_factory.mktemp("apart"), splits, features)


def logged(model: str, data: Path, caplog, epoch: bool = False, **settings) -> list[str]:
    _tell.cache_clear()
    run = start(model, data, **PRE_SPLIT, state="WARNING", embedding_size=8, **settings)
    if epoch:
        run.trainer().fit(run.train_data, run.valid_data)
    return [record.getMessage() for record in caplog.records if "has no edges" in record.getMessage()]


@pytest.mark.parametrize(
    ("model", "settings", "words"),
    [
        ("DAMRS", {"knn_k": 1, "relation_size": 5}, ("modalities find alike", "two users have together")),
        ("GUME", {"knn_k": 2}, ("are neighbours in all modalities",)),
        ("DualGNN", {}, ("users who have items together",)),
        ("MMSSL", {"refreshed_share": 0.01, "graph_refresh": "code"}, ("refreshed_share: 0.01 of 36 items",)),
        ("LGMRec", {"keep_rate": 1e-6}, ("by keep_rate: 1e-06 of ",)),
    ],
)
def test_a_model_tells_of_a_graph_without_edges(apart, caplog, model, settings, words):
    found = logged(model, apart, caplog, **settings)
    assert len(found) == len(words) and all(any(word in line for line in found) for word in words)


def test_a_share_that_drops_all_edges_is_told_once(planted, caplog):
    (line,) = logged("DiffMM", planted, caplog, epoch=True, keep_rate=1e-9, epochs=2, train_batch_size=64,
                     topk=[5], valid_metric="Recall@5", metrics=["Recall"])  # fmt: skip
    assert "by keep_rate: 1e-09, that an epoch trains on has no edges" in line


@pytest.mark.parametrize("model", ["DAMRS", "GUME", "DualGNN", "LGMRec", "FREEDOM", "DiffMM"])
def test_graphs_with_edges_are_not_told_of(planted, caplog, model):
    knn = {"knn_k": 4} if model in ("DAMRS", "GUME", "FREEDOM") else {}
    relation = {"relation_size": 5} if model == "DAMRS" else {}
    assert logged(model, planted, caplog, **knn, **relation) == []


def test_a_modality_that_no_item_with_a_neighbour_has(caplog, tmp_path):
    """Of one item alone the features are known: no two can be alike."""
    splits = {split: [("u0", "i0"), ("u1", "i1")] for split in ("train", "valid", "test")}
    features = {"visual": {"i0": np.ones(3)}}
    data = write_dataset(tmp_path, splits, features)
    (line,) = logged("FREEDOM", data, caplog, knn_k=1, edge_dropout=0, missing_modality="zero", modalities=["visual"])
    assert line.startswith("the item graph of visual has no edges")
