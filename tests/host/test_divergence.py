"""Trainings that diverge, of our models and of RecBole's own: one line, and nothing broken is saved or ranked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from recbole_mm.quick_start import main
from recbole_mm.testing.toy import PRE_SPLIT, start, write_planted

OURS, RECBOLES = "POWERec", "LightGCN"
SETTINGS = {**PRE_SPLIT, "topk": [5], "metrics": ["NDCG"], "valid_metric": "NDCG@5", "epochs": 4,
            "train_batch_size": 64, "embedding_size": 8}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_planted(tmp_path_factory.mktemp("diverging"), {"visual": 6, "textual": 4})


def break_weights(model, value: float = torch.nan) -> None:
    with torch.no_grad():
        next(parameter for parameter in model.parameters() if parameter.dim() == 2)[3] = value


def started(model: str, folder: Path, tmp_path: Path, before=None, after=None, **settings):
    """A run and its trainer, which calls `before` or `after` its epoch 2 with the model."""
    run = start(model, folder, **{**SETTINGS, "checkpoint_dir": str(tmp_path / "saved"), **settings})
    trainer = run.trainer()
    train_epoch = trainer._train_epoch

    def with_a_change(train_data, epoch, *rest, **options):
        if epoch == 2 and before:
            before(run.model)
        losses = train_epoch(train_data, epoch, *rest, **options)
        if epoch == 2 and after:
            after(run.model)
        return losses

    trainer._train_epoch = with_a_change
    return run, trainer


def refused(run, trainer, **options) -> str:
    with pytest.raises(ValueError) as error:
        trainer.fit(run.train_data, run.valid_data, **options)
    (line,) = str(error.value).splitlines()
    return line


@pytest.mark.parametrize("model", [OURS, RECBOLES])
def test_a_loss_that_is_not_a_number(folder, tmp_path, model):
    line = refused(*started(model, folder, tmp_path, before=break_weights, learning_rate=0.002))
    assert line.startswith(f"{model} diverged in epoch 2: its loss is nan, with learning_rate: 0.002; ")
    assert "clip_grad_norm: {'max_norm': 1}" in line and "reg_weight: " in line


@pytest.mark.parametrize(
    ("model", "key"),
    [("MMSSL", "critic_learning_rate"), ("DGMRec", "club_learning_rate"), ("DiffMM", "denoiser_learning_rate"),
     ("LUDP", "preference_learning_rate")],
)  # fmt: skip
def test_the_rate_of_an_optimizer_of_its_own_is_named(folder, tmp_path, model, key):
    line = refused(*started(model, folder, tmp_path, lr_decay=None, **{key: 1e30, "learning_rate": 0.002}))
    assert f"with learning_rate: 0.002, {key}: 1e+30; lower learning_rate or {key}, set " in line


@pytest.mark.parametrize("model", [OURS, RECBOLES])
def test_an_infinite_loss(folder, tmp_path, model):
    run, trainer = started(model, folder, tmp_path)
    calculate = run.model.calculate_loss
    run.model.calculate_loss = lambda interaction: calculate(interaction) * torch.inf
    assert "diverged in epoch 0: its loss is inf" in refused(run, trainer)


@pytest.mark.parametrize("model", [OURS, RECBOLES])
def test_the_part_of_the_loss_is_named(folder, tmp_path, model):
    run, trainer = started(model, folder, tmp_path)
    calculate = run.model.calculate_loss

    def parts(interaction):
        loss = calculate(interaction)
        return loss, loss * torch.nan, loss

    run.model.calculate_loss = parts
    assert "diverged in epoch 0: part 2 of 3 of its loss is nan" in refused(run, trainer)


@pytest.mark.parametrize("model", [OURS, RECBOLES])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_break_in_the_last_step(folder, tmp_path, model, value):
    run, trainer = started(model, folder, tmp_path, after=lambda broken: break_weights(broken, value))
    name = next(name for name, parameter in run.model.named_parameters() if parameter.dim() == 2)
    line = refused(run, trainer)
    assert f"diverged in epoch 2: its weights {name} hold NaN or infinity" in line
    saved = Path(line.rpartition(" is in ")[2])
    content = torch.load(saved, weights_only=False)["state_dict"]
    assert all(tensor.isfinite().all() for tensor in content.values())


def test_broken_weights_are_not_saved_where_nothing_is_evaluated(folder, tmp_path):
    run, trainer = started(OURS, folder, tmp_path, after=break_weights, eval_step=0)
    refused(run, trainer)
    weights = load_file(Path(trainer.saved_model_file).with_suffix(".safetensors"))
    assert all(tensor.isfinite().all() for tensor in weights.values())


@pytest.mark.parametrize("model", [OURS, RECBOLES])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_scores_that_are_no_numbers_are_not_ranked(folder, tmp_path, model, value):
    run, trainer = started(model, folder, tmp_path)
    score = run.model.full_sort_predict

    def broken(interaction):
        scores = score(interaction).clone()
        scores.view(len(interaction), -1)[:, 7] = value
        return scores

    run.model.full_sort_predict = broken
    assert "diverged in epoch 0: its scores hold NaN or infinity" in refused(run, trainer, saved=False)
    with pytest.raises(ValueError, match="scores of the evaluation are NaN or infinite"):
        trainer.evaluate(run.test_data, load_best_model=False)
    run.model.full_sort_predict = score
    assert trainer.evaluate(run.test_data, load_best_model=False)["ndcg@5"] >= 0


@pytest.mark.parametrize("model", [OURS, RECBOLES])
def test_a_loss_that_grows_a_thousandfold_is_warned_of_once(folder, tmp_path, model, caplog):
    def grow(grown):
        calculate = grown.calculate_loss
        grown.calculate_loss = lambda interaction: 2000 * calculate(interaction)

    run, trainer = started(model, folder, tmp_path, before=grow, epochs=5)
    trainer.fit(run.train_data, run.valid_data)
    warned = [record.getMessage() for record in caplog.records if "may be diverging" in record.getMessage()]
    assert len(warned) == 1
    assert warned[0].startswith("epoch 2: the loss ") and "learning_rate" in warned[0]


def test_a_training_that_converges_is_not_warned_of(folder, tmp_path, caplog):
    run, trainer = started(OURS, folder, tmp_path)
    trainer.fit(run.train_data, run.valid_data)
    assert "diverging" not in caplog.text


@pytest.mark.parametrize("model", [OURS, RECBOLES])
def test_the_command_ends_in_one_line(folder, tmp_path, model, capsys):
    settings = {**SETTINGS, "data_path": str(folder), "gpu_id": "", "state": "ERROR", "show_progress": False}
    Path("toy.yaml").write_text(json.dumps(settings))
    arguments = [f"--model={model}", "--dataset=toy", "--config_files=toy.yaml", "--learning_rate=1e30"]
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {model} diverged in epoch 0: its loss is ")
    assert line.endswith("no epoch before it was saved")
