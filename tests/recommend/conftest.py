"""One trained checkpoint per model that the tests ask for."""

from __future__ import annotations

import pytest

from recbole_mm.load import OpenedCheckpoint, open_checkpoint
from recbole_mm.testing.toy import PRE_SPLIT, start, write_planted

SETTINGS = {
    **PRE_SPLIT, "embedding_size": 8, "train_batch_size": 64, "epochs": 2, "learning_rate": 0.01,
    "topk": [5], "metrics": ["Recall"], "valid_metric": "Recall@5",
}  # fmt: skip
# PTMRec's stage one needs no encoder; few neighbours give many equal scores, of which no order can be asked.
OWN = {"PTMRec": {"peft": "none"}, "ContentKNN": {"keep": "none"}}


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return write_planted(tmp_path_factory.mktemp("serving"), {"visual": 6, "textual": 4})


@pytest.fixture(scope="session")
def checkpoint(folder):
    """Function from a model's name to the `.pth` of a short training."""
    made = {}

    def train(model: str) -> str:
        if model not in made:
            run = start(model, folder, **SETTINGS, **OWN.get(model, {}), checkpoint_dir=str(folder / "saved" / model))
            trainer = run.trainer()
            trainer.fit(run.train_data, run.valid_data)
            made[model] = trainer.saved_model_file
        return made[model]

    return train


@pytest.fixture(scope="session")
def opened(checkpoint):
    """Function from a model's name to its opened checkpoint."""

    def open_model(model: str) -> OpenedCheckpoint:
        return open_checkpoint(checkpoint(model), trust_pickle=True)

    return open_model
