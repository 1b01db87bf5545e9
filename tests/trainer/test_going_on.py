"""Going on with a run: with the settings it was begun with, and one process at a time."""

from __future__ import annotations

import pytest
import torch

from recbole_mm.load import open_checkpoint
from recbole_mm.quick_start import run as run_mm
from recbole_mm.testing.toy import PRE_SPLIT, QUIET, start, write_planted

SETTINGS = {
    **PRE_SPLIT, **QUIET, "epochs": 2, "embedding_size": 8, "knn_k": 4, "topk": [5], "metrics": ["Recall", "NDCG"],
    "valid_metric": "NDCG@5", "learning_rate": 0.01,
}  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_planted(tmp_path_factory.mktemp("data"), {"visual": 6, "textual": 4})


@pytest.fixture
def checkpoint(data, tmp_path):
    settings = {**SETTINGS, "data_path": str(data), "checkpoint_dir": str(tmp_path / "saved")}
    return run_mm("FREEDOM", "toy", config_dict=settings)["checkpoint"]


@pytest.mark.parametrize(
    "changed",
    [
        {"learning_rate": 0.1}, {"weight_decay": 0.5}, {"valid_metric": "Recall@5"}, {"knn_k": 5}, {"n_layers": 1},
        {"modality_weights": [0.9, 0.1]}, {"train_batch_size": 16}, {"seed": 3}, {"modalities": ["visual"]},
        {"shuffle": False}, {"worker": 1}, {"eval_step": 2}, {"metric_decimal_place": 2},
        {"missing_modality": "zero"}, {"clip_grad_norm": {"max_norm": 1}}, {"lr_decay": {"factor": 0.5, "epochs": 2}},
    ],
    ids=lambda changed: next(iter(changed)),
)  # fmt: skip
def test_other_settings_are_refused(checkpoint, data, changed):
    settings = {**SETTINGS, "data_path": str(data), "epochs": 4, "resume_from": checkpoint, **changed}
    (key,) = changed
    with pytest.raises(ValueError, match=f"resume_from: checkpoint .* was trained with {key}: .*set it as it was"):
        run_mm("FREEDOM", "toy", config_dict=settings)


def test_how_far_and_what_is_measured_may_change(checkpoint, data):
    changed = {"epochs": 4, "stopping_step": 7, "metrics": ["NDCG", "MRR"], "topk": [5, 10], "eval_batch_users": 7}
    settings = {**SETTINGS, "data_path": str(data), "resume_from": checkpoint, **changed}
    result = run_mm("FREEDOM", "toy", config_dict=settings)["test_result"]
    assert set(result) == {"ndcg@5", "ndcg@10", "mrr@5", "mrr@10"}


def test_a_run_has_one_writer(data, tmp_path):
    """A second process would mix its epochs into the files of the first."""
    saved = tmp_path / "saved"
    run = start("FREEDOM", data, **{**SETTINGS, "checkpoint_dir": str(saved)})
    first, refused = run.trainer(), []

    def go_on(*_):
        settings = {**SETTINGS, "data_path": str(data), "epochs": 4, "resume_from": first.saved_model_file}
        with pytest.raises(BlockingIOError, match="training .*: process .* does this already; wait until it ends"):
            run_mm("FREEDOM", "toy", config_dict=settings)
        refused.append(True)

    first.fit(run.train_data, run.valid_data, verbose=False, callback_fn=go_on)
    assert refused == [True] * 2
    assert not [file.name for file in saved.iterdir() if "lock" in file.name]
    settings = {**SETTINGS, "data_path": str(data), "epochs": 4, "resume_from": first.saved_model_file}
    run_mm("FREEDOM", "toy", config_dict=settings)


def test_a_modality_that_came_later_changes_nothing_for_a_checkpoint(checkpoint, data):
    before = open_checkpoint(checkpoint)
    lines = (data / "toy/toy.visual").read_text().replace("visual:", "audio:")
    (data / "toy/toy.audio").write_text(lines)
    try:
        after = open_checkpoint(checkpoint)
    finally:
        (data / "toy/toy.audio").unlink()
    assert after.model.modalities == before.model.modalities
    for table, expected in zip(after.model.score_tables(), before.model.score_tables(), strict=True):
        assert torch.equal(table, expected)
