"""Models with optimizers of their own: what those know goes into checkpoints, and copies have their own."""

from __future__ import annotations

import copy
import shutil

import pytest
import torch

from recbole_mm.io.run_files import RunFiles
from recbole_mm.testing.toy import start, write_planted
from tests.trainer import test_resume as resume

MODELS = {
    "DiffMM": {"denoiser_width": 16, "denoiser_batch_size": 16, "keep_rate": 0.7, "eval_graph": "as_trained"},
    "MMSSL": {"train_batch_size": 16, "graph_refresh": "epoch"},
    "DGMRec": {"knn_k": 3, "club_items": 16, "rebuild_epochs": 1},
}


def begin(data_path, folder, model, **settings):
    """As of the tests of resuming, without the keys of their models."""
    rest = {name: value for name, value in resume.SETTINGS.items() if name not in ("edge_dropout", "n_layers")}
    return start(model, data_path, **{**rest, "checkpoint_dir": str(folder), **MODELS[model], **settings})


@pytest.fixture(scope="module")
def data_path(tmp_path_factory):
    """Items i0 to i4 lack the visual features."""
    folder = write_planted(tmp_path_factory.mktemp("planted"), {"visual": 6, "textual": 4})
    file = folder / "toy" / "toy.visual"
    lines = file.read_text().splitlines()
    file.write_text("\n".join(line for line in lines if line.split("\t")[0] not in {f"i{n}" for n in range(5)}) + "\n")
    return folder


@pytest.mark.parametrize("model", MODELS)
def test_a_resumed_run_reaches_the_same_numbers(data_path, tmp_path, model):
    left, settings = tmp_path / "left.pth", {"epochs": 8}

    def keep(trainer, epoch, _):
        if epoch < 7 and trainer.cur_step == 0:
            shutil.copy(RunFiles.of(trainer.saved_model_file).resume, RunFiles.of(left).resume)

    uninterrupted = resume.end(begin(data_path, tmp_path / "whole", model, **settings), keep)
    run = begin(data_path, tmp_path / "resumed", model, resume_from=str(left), **settings)
    resume.disturb()
    resumed = resume.end(run)
    resume.assert_same_end(resumed, uninterrupted)
    assert 0 < len(resumed["losses"]) < 8


@pytest.mark.parametrize("model", MODELS)
def test_the_trainers_optimizer_leaves_their_parameters_alone(data_path, tmp_path, model):
    run = begin(data_path, tmp_path, model)
    own = {id(p) for opt in run.model.own_optimizers.values() for group in opt.param_groups for p in group["params"]}
    trained = {id(p) for group in run.trainer().optimizer.param_groups for p in group["params"]}
    assert own and trained and not own & trained
    assert own <= set(map(id, run.model.parameters()))


@pytest.mark.parametrize("model", MODELS)
def test_a_copy_trains_its_own(data_path, tmp_path, model):
    original = begin(data_path, tmp_path, model).model
    copied = copy.deepcopy(original)
    own = [p for opt in copied.own_optimizers.values() for group in opt.param_groups for p in group["params"]]
    assert {id(p) for p in own} <= set(map(id, copied.parameters()))
    before = [p.clone() for p in original.parameters()]
    for p in own:
        p.grad = torch.ones_like(p)
    for optimizer in copied.own_optimizers.values():
        optimizer.step()
    assert all(torch.equal(p, q) for p, q in zip(original.parameters(), before, strict=True))
