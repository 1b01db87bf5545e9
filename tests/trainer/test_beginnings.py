"""Mistakes in what a run begins with end it before its data are loaded, which are not there at all here."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from recbole.config import Config

from recbole_mm.io.run_files import RunFiles
from recbole_mm.io.tensor_file import read_tensor_file, write_tensor_file
from recbole_mm.quick_start import main
from recbole_mm.testing.toy import PRE_SPLIT, QUIET, start, write_planted
from recbole_mm.trainer.beginnings import check_beginning

SETTINGS = {
    **PRE_SPLIT, "embedding_size": 4, "n_layers": 1, "train_batch_size": 64, "epochs": 3, "topk": [5],
    "metrics": ["Recall"], "valid_metric": "Recall@5", "backbone": "POWERec",
}  # fmt: skip
OF_VBPR = {key: value for key, value in SETTINGS.items() if key not in ("backbone", "n_layers")}


def train(model: str, folder: Path, **settings) -> RunFiles:
    run = start(model, folder / "data", **settings, checkpoint_dir=str(folder / model))
    trainer = run.trainer()
    trainer.fit(run.train_data, run.valid_data)
    return RunFiles.of(trainer.saved_model_file)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    write_planted(folder / "data", {"visual": 6, "textual": 4})
    return folder


@pytest.fixture(scope="module")
def vbpr(folder) -> RunFiles:
    return train("VBPR", folder, **OF_VBPR)


@pytest.fixture(scope="module")
def margo(folder) -> RunFiles:
    return train("MARGO", folder, **SETTINGS)


def stage_one(files: RunFiles) -> RunFiles:
    return files.stages()[0]


def begin(model: str, settings: dict[str, Any], **more) -> Config:
    """The settings of a run whose data do not exist, checked as our commands do."""
    config = Config(model, "toy", config_dict={**QUIET, **settings, "data_path": "nowhere", **more})
    check_beginning(config)
    return config


def later(files: RunFiles, folder: Path, **changes) -> Path:
    """The state of a run with other facts, alone in a folder."""
    tensors, content = read_tensor_file(files.resume)
    state = folder / "changed.resume.safetensors"
    write_tensor_file(state, tensors, {**content, **changes})
    return state


# ---------------------------------------------------------------- resume_from


def test_a_run_that_can_go_on_passes(vbpr, margo):
    for part in ("pickle", "weights", "description", "resume"):
        assert begin("VBPR", OF_VBPR, resume_from=str(getattr(vbpr, part)))
        assert begin("MARGO", SETTINGS, resume_from=str(getattr(margo, part)))
        assert begin("MARGO", SETTINGS, resume_from=str(getattr(stage_one(margo), part)))


@pytest.mark.parametrize("model, settings, message", [
    ("BM3", {}, "is of model VBPR, this run is of BM3"),
    ("VBPR", {"learner": "sgd"}, "trained with learner adam, this run has sgd, .*; set learner: adam"),
    ("VBPR", {"epochs": 4}, "has trained 7 epochs, and `epochs` is 4; set more"),
    ("VBPR", {"epochs": 0}, "has trained 7 epochs, and `epochs` is 0"),
])  # fmt: skip
def test_a_file_of_another_run(vbpr, tmp_path, model, settings, message):
    state = later(vbpr, tmp_path, epoch=6)
    with pytest.raises(ValueError, match=f"^resume_from: .*{message}") as caught:
        begin(model, {**OF_VBPR, **settings}, resume_from=str(state))
    assert str(state) in str(caught.value) and "\n" not in str(caught.value)


def test_as_many_epochs_as_are_done_pass(vbpr, tmp_path):
    assert begin("VBPR", {**OF_VBPR, "epochs": 7}, resume_from=str(later(vbpr, tmp_path, epoch=6)))


def test_a_state_from_before_the_learner_was_kept_passes(vbpr, tmp_path):
    state = later(vbpr, tmp_path, learner=None)
    assert begin("VBPR", {**OF_VBPR, "learner": "sgd"}, resume_from=str(state))


@pytest.mark.parametrize("learner", ["sgd", "adamw"])
def test_the_trainer_itself_refuses_another_learner(vbpr, folder, learner):
    """RecBole's own way, in which no setting names the file."""
    run = start("VBPR", folder / "data", **{**OF_VBPR, "learner": learner}, checkpoint_dir="saved")
    with pytest.raises(ValueError, match=f"trained with learner adam, this run has {learner}"):
        run.trainer().resume_checkpoint(str(vbpr.pickle))


def test_the_trainer_itself_refuses_fewer_epochs_than_done(vbpr, folder, tmp_path):
    run = start("VBPR", folder / "data", **OF_VBPR, checkpoint_dir="saved")
    with pytest.raises(ValueError, match="has trained 7 epochs, and `epochs` is 3"):
        run.trainer().resume_checkpoint(str(later(vbpr, tmp_path, epoch=6)))


@pytest.mark.parametrize("file, error, message", [
    ("none.pth", FileNotFoundError, "checkpoint none.pth does not exist"),
    ("folder", OSError, "folder is a folder; give a regular file"),
    ("text.pth", ValueError, "text.pth has no text.resume.safetensors beside it; restore that file, or set trust_"),
    ("text.resume.safetensors", ValueError, "text.resume.safetensors is damaged"),
    ("weights.resume.safetensors", ValueError, "weights.resume.safetensors is no state of training"),
    ("after.pth", FileNotFoundError, "after-last.safetensors comes after the best epoch, whose after.safetensors"),
])  # fmt: skip
def test_no_state_at_all(vbpr, file, error, message):
    Path("folder").mkdir()
    Path("text.pth").write_text("text")
    if file.startswith("text.resume"):
        Path(file).write_text("text")
    shutil.copy(vbpr.weights, "weights.resume.safetensors")
    shutil.copy(vbpr.resume, "after-last.safetensors")
    with pytest.raises(error, match=f"^resume_from: .*{message}"):
        begin("VBPR", OF_VBPR, resume_from=file)


@pytest.mark.parametrize("settings, part, message", [
    ({"item_weights": False}, "final", "is of stage two, this run has one; set what chooses the stages as it was"),
    ({"two_stage": False}, "stage one", "is of stage one, this run has two"),
    ({"stage_two_epochs": 0}, "final", "and `epochs` is 0"),
    ({"stage_one_epochs": 0}, "stage one", "and `epochs` is 0"),
])  # fmt: skip
def test_a_file_of_another_stage(margo, settings, part, message):
    file = margo if part == "final" else stage_one(margo)
    with pytest.raises(ValueError, match=f"^resume_from: .*{message}"):
        begin("MARGO", {**SETTINGS, **settings}, resume_from=str(file.pickle))


def test_a_run_that_has_only_stage_one_names_it(margo, tmp_path):
    killed = RunFiles(tmp_path / "run.pth").stage("one")
    killed.pickle.parent.mkdir()
    shutil.copy(stage_one(margo).resume, killed.resume)
    with pytest.raises(FileNotFoundError, match=f"run.pth does not exist; set {killed.pickle}, of the stage that"):
        begin("MARGO", SETTINGS, resume_from=str(tmp_path / "run.pth"))
    assert begin("MARGO", SETTINGS, resume_from=str(killed.pickle))


def test_epochs_are_those_of_the_stage_that_the_run_is_in(margo, tmp_path):
    """A run that was interrupted in stage two is not measured by the epochs of its stage one."""
    original, copied = stage_one(margo), RunFiles(tmp_path / "run-stage-one.pth")
    shutil.copy(original.resume, copied.resume)
    shutil.copy(margo.resume, tmp_path / "run.resume.safetensors")
    few = {**SETTINGS, "stage_one_epochs": 0}
    with pytest.raises(ValueError, match="`epochs` is 0"):
        begin("MARGO", few, resume_from=str(copied.resume))
    shutil.copy(margo.resume, tmp_path / "run-last.safetensors")
    for part in ("pickle", "weights", "description"):
        shutil.copy(getattr(margo, part), getattr(RunFiles(tmp_path / "run.pth"), part))
    assert begin("MARGO", few, resume_from=str(copied.resume))


# ---------------------------------------------------------------- stage_one_checkpoint


def test_a_stage_one_that_fits_passes(margo):
    assert begin("MARGO", SETTINGS, stage_one_checkpoint=str(stage_one(margo).pickle))


@pytest.mark.parametrize("settings, part, error, message", [
    ({}, "none.pth", FileNotFoundError, "none.pth does not exist"),
    ({}, "text.pth", FileNotFoundError, "text.pth has no .safetensors and .json"),
    ({}, "final", ValueError, "is of stage two, and this run would begin stage two with it; give the file of stage"),
    ({"backbone": "DualGNN"}, "stage one", ValueError, "has backbone POWERec, this run has DualGNN"),
    ({}, "vbpr", ValueError, "has backbone VBPR, this run has POWERec"),
    ({"embedding_size": 8}, "stage one", ValueError, "other settings of .*embedding_size: 4 there, 8 here"),
    ({"propagation": "LightGCN"}, "stage one", ValueError, "propagation: LayerGCN there, LightGCN here"),
    ({"item_weights": False}, "stage one", ValueError, "with item_weights: False there is stage one alone"),
])  # fmt: skip
def test_a_wrong_stage_one(margo, vbpr, settings, part, error, message):
    Path("text.pth").write_text("text")
    files = {"final": margo, "stage one": stage_one(margo), "vbpr": vbpr}
    file = str(files[part].pickle) if part in files else part
    with pytest.raises(error, match=f"^stage_one_checkpoint.*{message}") as caught:
        begin("MARGO", {**SETTINGS, **settings}, stage_one_checkpoint=file)
    assert file in str(caught.value) and "\n" not in str(caught.value)


# ---------------------------------------------------------------- the command


@pytest.mark.parametrize("key", ["resume_from", "stage_one_checkpoint"])
def test_the_command_says_one_line_and_nothing_before_it(folder, capsys, key):
    assert main(["--model=MARGO", "--dataset=toy", f"--data_path={folder / 'data'}", f"--{key}=none.pth"]) == 2
    shown = capsys.readouterr()
    assert shown.err.count("\n") == 1 and "none.pth does not exist" in shown.err and shown.out == ""
    assert not Path("log").exists()
