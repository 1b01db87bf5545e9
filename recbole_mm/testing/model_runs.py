"""What the tests of a model run: small trainings of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from recbole_mm.setting_rules import model_settings
from recbole_mm.testing.toy import PRE_SPLIT, Run, own_process, start, write_planted

SMALL: dict[str, Any] = {
    **PRE_SPLIT,
    "embedding_size": 8,
    "train_batch_size": 64,
    "eval_step": 1,
    "topk": [5],
    "metrics": ["Recall"],
    "valid_metric": "Recall@5",
    "stopping_step": 100,
}


def few_neighbours(model: str) -> dict[str, int]:
    """Fewer neighbours than the toy data have items, where a model of ours has such a setting."""
    return {"knn_k": 3} if any("knn_k" in kind.model_fields for kind in model_settings(model)) else {}


class ModelRuns:
    """Small trainings of one model, each in its own folder.

    Attributes:
        model: its name.
        settings: keys that its tests run with, such as few neighbours for 29 items.
        state_dict_keys: names in its checkpoints, which must stay; not compared where they are not given.
        parameters_without_gradient: names of parameters that a first batch leaves without.
        modality_counts: how many modalities it is tried with.
        adapter_settings: keys that it needs with a feature adapter.
        adapter_narrows_features: it projects to the ID vectors' width only where an adapter needs it.
        planted_epochs: after which it must know the two groups of :func:`~recbole_mm.testing.toy.write_planted`.
        planted_learning_rate: in those epochs.
    """

    model: str
    settings: dict[str, Any] = {}
    state_dict_keys: set[str] | None = None
    parameters_without_gradient: set[str] = set()
    modality_counts: tuple[int, ...] = (1, 2, 3)
    adapter_settings: dict[str, Any] = {}
    adapter_narrows_features = False
    planted_epochs = 60
    planted_learning_rate = 0.01

    @pytest.fixture(autouse=True)
    def own_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """RecBole writes logs and checkpoints into the working folder and reads the command line."""
        own_process(tmp_path, monkeypatch)

    @pytest.fixture(scope="class")
    @classmethod
    def data_path(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return write_planted(tmp_path_factory.mktemp("planted"), {"visual": 12, "textual": 7, "acoustic": 5})

    @pytest.fixture
    def run(self, data_path: Path, tmp_path: Path) -> Run:
        return self.start(data_path, tmp_path)

    def start(self, data_path: Path, tmp_path: Path, **settings: Any) -> Run:
        merged = {**SMALL, "modalities": ["visual", "textual"], "checkpoint_dir": str(tmp_path / "saved")}
        return start(self.model, data_path, **{**merged, **self.settings, **settings})

    def scores(self, run: Run) -> torch.Tensor:
        """Scores of all users but [PAD], ``[user_num - 1, item_num]``."""
        run.model.eval()
        users = {"user_id": torch.arange(1, run.dataset.user_num)}
        with torch.no_grad():
            return run.model.full_sort_predict(users).view(-1, run.dataset.item_num)
