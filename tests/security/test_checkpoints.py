"""Checkpoints that are no regular files, or that somebody wrote again with digests that fit."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from recbole_mm.__main__ import main as run_command_line
from recbole_mm.host.config import StoredSettings
from recbole_mm.io.run_files import RunFiles
from recbole_mm.load import open_checkpoint
from recbole_mm.quick_start import main as run_main
from recbole_mm.testing.toy import PRE_SPLIT, QUIET, start, write_planted
from recbole_mm.trainer.checkpoint import read_safe_pair
from recbole_mm.trainer.resume import find_resume_point
from tests.forgery import forge

PARTS = ("pickle", "weights", "description", "resume", "last")


@pytest.fixture(scope="module")
def data_path(tmp_path_factory) -> Path:
    return write_planted(tmp_path_factory.mktemp("data"), {"visual": 6})


@pytest.fixture(scope="module")
def trained(data_path, tmp_path_factory) -> RunFiles:
    run = start("VBPR", data_path, **PRE_SPLIT, epochs=1, checkpoint_dir=str(tmp_path_factory.mktemp("saved")))
    trainer = run.trainer()
    trainer.fit(run.train_data, run.valid_data)
    return RunFiles.of(trainer.saved_model_file)


@pytest.fixture
def files(trained, tmp_path) -> RunFiles:
    """The same in a folder of the test's own, with a state of a later epoch."""
    copies = RunFiles(tmp_path / "run.pth")
    for part in PARTS[:4]:
        shutil.copy(getattr(trained, part), getattr(copies, part))
    shutil.copy(trained.resume, copies.last)
    return copies


# ---------------------------------------------------------------- no regular files


def become(file: Path, kind: str) -> None:
    """Have something else stand in a file's place."""
    file.unlink()
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "link to a pipe":
        os.mkfifo(file.with_name("pipe"))
        file.symlink_to("pipe")
    elif kind == "link to a device":
        file.symlink_to("/dev/zero")
    else:
        file.mkdir()


kinds = pytest.mark.parametrize("kind", ["pipe", "link to a pipe", "link to a device", "folder"])


@kinds
@pytest.mark.parametrize("part", ["weights", "description"])
@pytest.mark.parametrize("command", [["recommend"], ["export"], ["analyse", "feature-drift"]], ids=" ".join)
def test_a_command_ends_in_one_line(files, capsys, kind, part, command):
    become(getattr(files, part), kind)
    assert run_command_line([*command, str(files.pickle), "--out=out"]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert f"{getattr(files, part)} is a" in line and line.endswith("give a regular file")
    assert not Path("out").exists()


@kinds
@pytest.mark.parametrize("part", ["resume", "last"])
def test_a_run_does_not_go_on_from_it(files, capsys, data_path, kind, part):
    become(getattr(files, part), kind)
    arguments = ["--model=VBPR", "--dataset=toy", f"--data_path={data_path}", f"--resume_from={files.pickle}"]
    assert run_main(arguments) == 2
    shown = kind.removeprefix("link to a ")
    line = f"error: resume_from: {getattr(files, part)} is a {shown}; give a regular file"
    assert capsys.readouterr().err.splitlines() == [line]  # before anything is loaded


@kinds
def test_a_trusted_pickle(files, kind):
    files.weights.unlink()
    become(files.pickle, kind)
    with pytest.raises(OSError, match="run.pth"):
        open_checkpoint(files.pickle, trust_pickle=True)


@pytest.fixture
def somebody() -> Iterator[Path]:
    """A folder, and a user who is not root, to whom rights do not matter."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    is_root = os.geteuid() == 0
    yield folder
    if is_root:
        os.seteuid(0)
    shutil.rmtree(folder)


@pytest.mark.parametrize("part", ["weights", "description", "resume"])
def test_a_file_that_may_not_be_read(trained, somebody, part):
    copies = RunFiles(somebody / "run.pth")
    for name in PARTS[:4]:
        shutil.copy(getattr(trained, name), getattr(copies, name))
    getattr(copies, part).chmod(0)
    if os.geteuid() == 0:
        os.seteuid(65534)
    with pytest.raises(PermissionError, match="cannot be read .Permission denied.; give a file that you") as caught:
        (find_resume_point if part == "resume" else lambda file, _: read_safe_pair(file))(copies.pickle, False)
    assert str(getattr(copies, part)) in str(caught.value)


# ---------------------------------------------------------------- settings that somebody wrote


@pytest.mark.parametrize("settings", [
    {"load_col": {"inter": ["user_id"]}},
    {"load_col": {"nope": ["user_id"]}},
    {"load_col": None, "unload_col": {"inter": ["user_id"]}},
    {"USER_ID_FIELD": "nope"},
    {"ITEM_ID_FIELD": "user_id"},
    {"TIME_FIELD": 7},
    {"alias_of_item_id": ["nope"]},
    {"metrics": ["Recall", "RMSE"]},
    {"valid_metric": "Recall"},
    {"encoding": "rot13"},
    {"field_separator": "xx"},
    {"train_neg_sample_args": {"dynamic": True}},
    {"benchmark_filename": ["train", "test"]},
    {"threshold": {"nope": 3}},
    {"seed": "abc"},
    {"n_layers": []},
    {"embedding_size": {"a": 1}},
    {"modalities": ["nope"]},
    {"feature_adapter": 3},
    {"data_path": 3},
    {"numerical_features": ["nope"]},
    {"preload_weight": {"nope": "nope"}},
    {"additional_feat_suffix": ["nope"]},
    {"seq_len": {"user_id": 0}},
    {"val_interval": {"nope": "[0,1]"}},
    {"user_inter_num_interval": "[1000,inf)"},
    {"eval_args": {"split": {"RS": [0, 0, 1]}}},
    {"MODEL_TYPE": "nope"},
    {"discretization": {"nope": 3}},
    {"normalize_field": ["nope"]},
], ids=str)  # fmt: skip
def test_end_in_one_line_that_names_the_checkpoint(files, capsys, settings):
    forge(files.description, settings=settings)
    code = run_command_line(["recommend", str(files.description), "--out=out.parquet"])
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    if code == 0:  # of no meaning to this model
        return
    assert code == 2 and len(errors) == 1 and str(files.description) in errors[0]


@pytest.mark.parametrize("settings", [{"local_rank": 3}, {"world_size": 2, "nproc": 2, "ip": "localhost", "port": 1}])
def test_keys_of_processes_are_left_out(files, settings):
    forge(files.description, settings=settings)
    opened = open_checkpoint(files.description)
    assert opened.config["single_spec"] and not set(settings) & set(opened.config.external_config_dict)


@pytest.mark.parametrize("field, value", [
    ("model", "nope"), ("model", ""), ("dataset", "nope"), ("dataset", "../toy"), ("dataset", ""), ("data_path", "\0"),
    ("model", "BPR"), ("other_parameter", {"epochs_started": -1}), ("data_path_from_here", "a" * 5000),
])  # fmt: skip
def test_other_fields_that_somebody_wrote(files, field, value):
    forge(files.description, {field: value})
    try:
        open_checkpoint(files.description)
    except (OSError, ValueError) as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("model", ["FREEDOM", "VBPR"])
def test_opening_writes_nothing_wherever_the_settings_say(data_path, tmp_path, model):
    small = {"embedding_size": 4, "epochs": 1, "checkpoint_dir": "saved"}
    run = start(model, data_path, **PRE_SPLIT, **small)
    trainer = run.trainer()
    trainer.fit(run.train_data, run.valid_data)
    files = RunFiles.of(trainer.saved_model_file)
    places = ("graph_dir", "checkpoint_dir", "log_dir", "tensorboard_dir")
    saving = dict.fromkeys(("save_dataset", "save_dataloaders"), True)
    forge(files.description, settings={key: str(tmp_path / "planted" / key) for key in places} | saving)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    open_checkpoint(files.description)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == before
    assert not (tmp_path / "planted").exists()


def test_a_stored_setting_is_refused_by_its_file():
    from recbole.config import Config

    stored = StoredSettings({**QUIET, "seed": "abc"}, source="checkpoint run.json")
    with pytest.raises(ValueError, match="^checkpoint run.json: seed: 'abc' is not allowed"):
        Config("BPR", "toy", config_dict=stored)
