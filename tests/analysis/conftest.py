"""Checkpoints of small models, trained once for all analyses."""

from __future__ import annotations

from contextlib import chdir
from pathlib import Path

import pytest

from recbole_mm.testing.toy import PRE_SPLIT, start, write_planted

SMALL = {**PRE_SPLIT, "embedding_size": 8, "train_batch_size": 64, "epochs": 2, "eval_step": 1, "topk": [5],
         "metrics": ["Recall"], "valid_metric": "Recall@5", "learning_rate": 0.01}  # fmt: skip


@pytest.fixture(scope="session")
def data_path(tmp_path_factory) -> Path:
    """The planted data set with titles, some of which are no plain text; it has no pictures."""
    folder = write_planted(tmp_path_factory.mktemp("analysis"), {"visual": 6, "textual": 4})
    lines = ["item_id:token\ttitle:token_seq\tyear:token"]
    lines += [f"i{number}\tThe <i>$1 & 'Co'</i> of item {number}, $2\t1999" for number in range(30)]
    (folder / "toy" / "toy.item").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="session")
def train(data_path, tmp_path_factory):
    """Trains a model for two epochs and gives its checkpoint; the same settings are trained once."""
    trained: dict[str, Path] = {}

    def checkpoint(model: str, folder: Path = data_path, **settings) -> Path:
        key = f"{model} {folder} {settings}"
        if key not in trained:
            place = tmp_path_factory.mktemp(model)
            with pytest.MonkeyPatch.context() as patch, chdir(place):  # RecBole writes logs where it runs
                patch.setattr("sys.argv", ["pytest"])
                run = start(model, folder, **{**SMALL, "checkpoint_dir": str(place / "saved"), **settings})
                trainer = run.trainer()
                trainer.fit(run.train_data, run.valid_data)
            trained[key] = Path(trainer.saved_model_file)
        return trained[key]

    return checkpoint


@pytest.fixture(scope="session")
def margo(train) -> Path:
    """MARGO over POWERec, both stages: three modalities with an item weight each."""
    return train("MARGO", backbone="POWERec", n_layers=1, two_stage=True)
