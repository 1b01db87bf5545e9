"""A data set, the settings of a run of a second on it, and a small grid."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recbole_mm.testing.toy import PRE_SPLIT, QUIET, write_planted


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    """Holds the data set toy, toy.yaml and toy.hyper."""
    folder = write_planted(tmp_path_factory.mktemp("tuning"), {"visual": 6, "textual": 4})
    settings = {
        **PRE_SPLIT, **QUIET, "data_path": str(folder), "epochs": 2, "embedding_size": 8, "train_batch_size": 64,
        "topk": [5], "metrics": ["Recall", "NDCG"], "valid_metric": "NDCG@5", "learning_rate": 0.01,
    }  # fmt: skip
    (folder / "toy.yaml").write_text(json.dumps(settings))
    (folder / "toy.hyper").write_text("prompt_num choice [1,2]\nweak_weight choice [0,0.5]\n")
    return folder


@pytest.fixture
def arguments(folder) -> list[str]:
    return ["--dataset=toy", f"--config_files={folder / 'toy.yaml'}", f"--params_file={folder / 'toy.hyper'}"]
