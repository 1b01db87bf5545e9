"""Checkpoints on disk: whole or absent, and a pair that opens without unpickling."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from recbole.config import Config
from safetensors.torch import load_file, save_file

from recbole_mm.io.run_files import RunFiles
from recbole_mm.io.tensor_file import read_content
from recbole_mm.load import open_checkpoint
from recbole_mm.testing.toy import PRE_SPLIT, QUIET, Run, start, write_dataset, write_planted
from recbole_mm.trainer.checkpoint import read_safe_pair, settings
from recbole_mm.trainer.fingerprints import fingerprint
from tests.forgery import forge

SETTINGS = {
    **PRE_SPLIT,
    "embedding_size": 8, "n_layers": 2, "train_batch_size": 64, "epochs": 2, "modalities": ["visual"],
    "topk": [5], "metrics": ["Recall", "NDCG"], "valid_metric": "NDCG@5",
}  # fmt: skip


@pytest.fixture(scope="module")
def data_path(tmp_path_factory) -> Path:
    return write_planted(tmp_path_factory.mktemp("planted"), {"visual": 6, "textual": 4})


@pytest.fixture(scope="module")
def trained(data_path, tmp_path_factory) -> tuple[Run, dict, Path]:
    """A finished run, the best validation result, and its `.pth`."""
    run = start("POWERec", data_path, **SETTINGS, checkpoint_dir=str(tmp_path_factory.mktemp("saved")))
    trainer = run.trainer()
    _, result = trainer.fit(run.train_data, run.valid_data)
    trainer.evaluate(run.test_data)  # loads the best weights
    return run, result, Path(trainer.saved_model_file)


@pytest.fixture
def copied(trained, tmp_path) -> Path:
    """The `.pth` of a copy of the three files, to be damaged."""
    copy = RunFiles(tmp_path / "copy.pth")
    for file, name in zip(RunFiles.of(trained[2]).all, copy.all, strict=True):
        if file.exists():
            shutil.copy(file, name)
    return copy.pickle


# ---------------------------------------------------------------- writing


@pytest.mark.parametrize("writer", ["torch.save", "recbole_mm.io.tensor_file.save_file"])
def test_a_checkpoint_that_fails_midway_leaves_the_old_one(data_path, tmp_path, monkeypatch, writer):
    run = start("POWERec", data_path, **SETTINGS, checkpoint_dir=str(tmp_path / "saved"))
    trainer = run.trainer()
    trainer.fit(run.train_data, run.valid_data)
    before = {file.name: file.read_bytes() for file in (tmp_path / "saved").iterdir() if file.is_file()}

    def fail(_, file, *__, **___):
        Path(file).write_bytes(b"half")
        raise OSError("disk full")

    with monkeypatch.context() as patched:
        patched.setattr(writer, fail)
        with pytest.raises(OSError, match="disk full"):
            trainer._save_checkpoint(7)
    assert {file.name: file.read_bytes() for file in (tmp_path / "saved").iterdir() if file.is_file()} == before


# ---------------------------------------------------------------- the safe pair


def test_content_of_the_safe_pair(trained):
    run, result, file = trained
    described = json.loads(file.with_suffix(".json").read_text())
    assert (described["model"], described["dataset"]) == ("POWERec", "toy")
    assert described["valid_result"] == result
    assert described["fingerprint"] == fingerprint(run.train_data._dataset)
    assert described["settings"]["embedding_size"] == 8
    assert described["settings"]["modalities"] == ["visual"]
    weights, saved = load_file(file.with_suffix(".safetensors")), torch.load(file, weights_only=False)
    assert weights.keys() == saved["state_dict"].keys()
    for name, tensor in weights.items():
        assert torch.equal(tensor, saved["state_dict"][name])


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".json"])
def test_each_name_opens_the_pair_without_unpickling(trained, monkeypatch, suffix):
    def unpickle(*_, **__):
        raise AssertionError("something was unpickled")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, unpickle)
    monkeypatch.setattr(torch, "load", unpickle)
    run, result, file = trained
    saved = read_safe_pair(file.with_suffix(suffix))
    assert saved.valid_result == result
    opened = open_checkpoint(file.with_suffix(suffix))
    assert not opened.model.training
    for name, tensor in run.model.state_dict().items():
        assert torch.equal(opened.model.state_dict()[name], tensor)


def test_an_opened_checkpoint_evaluates_to_the_same_numbers(trained):
    run, _, file = trained
    expected = run.trainer().evaluate(run.test_data, load_best_model=False)
    opened = open_checkpoint(file)
    again = Run(
        opened.config, opened.dataset, opened.train_data, opened.valid_data, opened.test_data, opened.model
    )
    assert again.trainer().evaluate(opened.test_data, load_best_model=False) == expected
    assert opened.test_data.batch_sampler.batch_size == run.test_data.batch_sampler.batch_size == 500


def test_settings_are_plain_values():
    given = {**QUIET, "embedding_size": np.int64(8), "weak_weight": np.float32(0.5), "topk": [5], "epochs": 3}
    given["valid_metric"] = "NDCG@5"
    kept = settings(Config("POWERec", "toy", config_dict=given))
    assert kept == json.loads(json.dumps(kept))
    assert (kept["embedding_size"], kept["weak_weight"], kept["topk"], kept["epochs"]) == (8, 0.5, [5], 3)
    assert kept["propagation"] == "LayerGCN"
    assert not {"model", "dataset", "eval_batch_size"} & kept.keys()
    assert (
        settings(Config("POWERec", "toy", config_dict={**given, "eval_batch_size": 99}))["eval_batch_size"]
        == 99
    )


def test_fingerprint_is_of_the_pairs_in_any_order(tmp_path):
    """`other` has the same users, items and degrees as `first`, and differs in who has what."""
    common, marks = [("u3", "a"), ("u3", "b"), ("u1", "c"), ("u2", "c")], []
    last = {
        "one": [("u1", "a"), ("u2", "b")],
        "again": [("u2", "b"), ("u1", "a")],
        "other": [("u1", "b"), ("u2", "a")],
    }
    for name, rows in last.items():
        splits = {
            "train": common + rows,
            "valid": [("u1", "d"), ("u2", "e")],
            "test": [("u1", "e"), ("u2", "d")],
        }
        run = start("LayerGCN", write_dataset(tmp_path / name, splits, {}), **PRE_SPLIT)
        marks.append([fingerprint(loader._dataset) for loader in (run.train_data, run.valid_data)])
    first, again, other = marks
    assert first == again
    assert first[0] != other[0] and first[1] == other[1]
    assert first[0] != first[1]


def older_format(file: Path) -> None:
    """Make a pair as it was before there were write ids."""
    described = json.loads(file.with_suffix(".json").read_text())
    for field in ("write_id", "replaces", "sha256", "data_path", "data_path_from_here"):
        del described[field]
    file.with_suffix(".json").write_text(json.dumps({**described, "format": 1}))
    save_file(load_file(file.with_suffix(".safetensors")), file.with_suffix(".safetensors"))


def test_a_pair_of_the_first_format_opens(copied, trained):
    older_format(copied)
    opened = open_checkpoint(copied)
    for name, tensor in trained[0].model.state_dict().items():
        assert torch.equal(opened.model.state_dict()[name], tensor)


# ---------------------------------------------------------------- what does not open


def test_a_bare_pickle_needs_trust(copied, trained):
    copied.with_suffix(".json").unlink()
    copied.with_suffix(".safetensors").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"copy\.pth has no copy\.safetensors beside it; .* pass --trust-pickle"
    ):
        open_checkpoint(copied)
    opened = open_checkpoint(copied, trust_pickle=True)
    assert not opened.model.training
    for name, tensor in trained[0].model.state_dict().items():
        assert torch.equal(opened.model.state_dict()[name], tensor)


def test_a_folder_is_no_file_of_a_run(tmp_path):
    with pytest.raises(IsADirectoryError, match=r"is a folder; give a file of a run, such as .*NAME\.pth"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize("part", [".json", ".safetensors"])
def test_half_a_pair_needs_trust_too(copied, part):
    older_format(copied)
    copied.with_suffix(part).unlink()
    with pytest.raises(
        FileNotFoundError, match=rf"copy\.pth has no copy\{part} beside it; restore that file"
    ):
        open_checkpoint(copied)
    assert open_checkpoint(copied, trust_pickle=True).config["model"] == "POWERec"


def test_a_trusted_pickle_that_is_damaged(copied):
    copied.with_suffix(".safetensors").unlink()
    copied.write_bytes(copied.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"copy\.pth is damaged and cannot be opened"):
        open_checkpoint(copied, trust_pickle=True)


@pytest.mark.parametrize(
    "damage",
    [lambda whole: whole[: len(whole) // 2], lambda _: b"", lambda _: b"\xff\xfe\x00 no text"],
    ids=["cut in half", "empty", "garbage"],
)
@pytest.mark.parametrize("part", [".json", ".safetensors"])
def test_a_damaged_pair(copied, part, damage):
    file = copied.with_suffix(part)
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(ValueError, match=rf"copy\{part} is damaged \("):
        read_safe_pair(copied)


@pytest.mark.parametrize("content", ["[]", "{}", "null"])
def test_a_description_of_something_else(copied, content):
    copied.with_suffix(".json").write_text(content)
    with pytest.raises(ValueError, match=r"copy\.json is damaged \("):
        read_safe_pair(copied)


def test_no_such_checkpoint(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"checkpoint .*none\.pth does not exist"):
        open_checkpoint(tmp_path / "none.pth")
    with pytest.raises(FileNotFoundError, match=r"checkpoint .*none\.pth does not exist"):
        open_checkpoint(tmp_path / "none.pth", trust_pickle=True)


@pytest.mark.parametrize("change, words", [
    (lambda content: content["settings"].update(learning_rate=0.5), r"settings\.learning_rate was .* and is 0\.5"),
    (lambda content: content["settings"].update(n_layer=3), r"settings\.n_layer was nothing and is 3"),
    (lambda content: content["settings"].pop("prompt_num"), r"settings\.prompt_num was 3 and is nothing"),
    (lambda content: content.update(valid_result=None), "valid_result was .* and is null"),
    (lambda content: content.update(dataset="toys"), 'dataset was "toy" and is "toys"'),
    (lambda content: content.update(data_path="/etc"), 'data_path was .* and is "/etc"'),
])  # fmt: skip
def test_a_description_that_was_edited_is_refused(copied, change, words):
    file = copied.with_suffix(".json")
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=rf"copy\.json has changed since it was written: {words}; restore the file"):
        read_safe_pair(copied)
    file.unlink()
    assert read_safe_pair(copied).dataset == "toy"


@pytest.mark.parametrize("part", [".json", ".safetensors", ".resume.safetensors", "-last.safetensors", ".pth"])
@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_what_is_no_file_is_refused_and_not_waited_for(copied, data_path, part, kind):
    file = copied.with_name(copied.stem + part)
    file.unlink(missing_ok=True)
    {"pipe": os.mkfifo, "device": lambda path: path.symlink_to("/dev/zero"), "folder": os.mkdir}[kind](file)
    if part in (".json", ".safetensors"):
        with pytest.raises(OSError, match=rf"copy\{part} is a {kind}; give a regular file"):
            open_checkpoint(copied)
    if part == ".pth":
        copied.with_suffix(".safetensors").unlink()
        with pytest.raises(OSError, match=rf"copy\.pth is a {kind}; give a regular file"):
            open_checkpoint(copied, trust_pickle=True)
    if "-last" in part or "resume" in part:
        run = start("POWERec", data_path, **SETTINGS, resume_from=str(copied))
        with pytest.raises(OSError, match=rf"{part} is a {kind}; give a regular file"):
            run.trainer().fit(run.train_data, run.valid_data)


def test_checkpoint_of_an_unknown_model(copied):
    forge(copied, {"model": "POWERek"})
    with pytest.raises(ValueError, match=r"unknown model 'POWERek' \(did you mean POWERec\?\)"):
        open_checkpoint(copied)


def test_checkpoint_of_another_version_of_the_data(copied, tmp_path):
    write_planted(tmp_path / "other", {"visual": 6, "textual": 4}, seed=1)
    forge(copied, settings={"data_path": str(tmp_path / "other")})
    with pytest.raises(ValueError, match=r"was trained on another version of data set 'toy' than the one in"):
        open_checkpoint(copied)


def test_weights_that_do_not_fit_the_features(copied):
    """The weights are of another width than the settings say."""
    forge(copied, settings={"embedding_size": 4})
    with pytest.raises(
        ValueError, match="its weights do not fit its settings and the features .*size mismatch"
    ):
        open_checkpoint(copied)


def test_features_that_changed_since_training(copied, data_path, tmp_path):
    shutil.copytree(data_path / "toy", tmp_path / "other" / "toy")
    file = tmp_path / "other" / "toy" / "toy.visual"
    header, first, *rest = file.read_text().splitlines()
    item, row = first.split("\t")
    file.write_text("\n".join([header, f"{item}\t9{row[1:]}", *rest]) + "\n")
    with pytest.raises(ValueError, match="was trained on other visual features than this run reads"):
        open_checkpoint(copied, data_path=tmp_path / "other")


# ---------------------------------------------------------------- which files belong together


def test_all_files_carry_one_write_id(trained):
    files = RunFiles.of(trained[2])
    described = json.loads(files.description.read_text())
    assert described["sha256"] == hashlib.sha256(files.weights.read_bytes()).hexdigest()
    ids = {read_content(files.weights)["write_id"], read_content(files.resume)["write_id"]}
    ids |= {torch.load(files.pickle, weights_only=False)["write_id"], described["write_id"]}
    assert len(ids) == 1


@pytest.mark.parametrize("part", [".json", ".safetensors"])
def test_a_pair_of_two_runs_is_refused(copied, data_path, tmp_path, part):
    run = start("POWERec", data_path, **{**SETTINGS, "learning_rate": 0.1}, checkpoint_dir=str(tmp_path / "saved"))
    trainer = run.trainer()
    trainer.fit(run.train_data, run.valid_data)
    shutil.copy(Path(trainer.saved_model_file).with_suffix(part), copied.with_suffix(part))
    with pytest.raises(ValueError, match=r"copy\.safetensors and copy\.json are of different runs or epochs"):
        read_safe_pair(copied)


@pytest.mark.parametrize("place", [0.2, 0.6, 0.999])
def test_every_flipped_bit_of_the_weights_is_found(copied, place):
    file = copied.with_suffix(".safetensors")
    content = bytearray(file.read_bytes())
    content[int(place * len(content))] ^= 1
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"copy\.safetensors (is damaged|has changed)"):
        read_safe_pair(copied)


@pytest.mark.parametrize("field, value, message", [
    ("format", 3, "has format 3, and this recbole_mm reads formats up to 2"),
    ("format", 0, "format: input should be greater than or equal to 1"),
    ("format", -1, "format: input should be greater than or equal to 1"),
    ("format", "2", "format: input should be a valid integer"),
    ("write_id", 5, "write_id: input should be a valid string"),
    ("sha256", None, "no sha256"),
    ("fingerprint", None, "no fingerprint"),
    ("features", None, "no features"),
    ("model", ["POWERec"], "model: input should be a valid string"),
    ("dataset", None, "dataset: input should be a valid string"),
    ("fingerprint", 1, "fingerprint: input should be a valid string"),
    ("features", {"visual": 1}, "features.visual: input should be a valid string"),
    ("features", "visual", "features: input should be a valid dictionary"),
    ("valid_result", {"ndcg@5": "high"}, "valid_result.ndcg@5: input should be a valid number"),
    ("other_parameter", [], "other_parameter: input should be a valid dictionary"),
    ("other_parameter", {"epochs_started": "two"}, "other_parameter.epochs_started: 'two'"),
    ("other_parameter", {"forward": 1}, "other_parameter.forward: 1"),
    ("other_parameter", {"epochs_started": {"tensor": "none"}}, r"copy\.json is damaged \(there is no tensor 'none'\)"),
    ("settings", None, "settings: input should be a valid dictionary"),
    ("data_path", 1, "data_path: input should be a valid string"),
])  # fmt: skip
def test_a_field_of_another_type(copied, field, value, message):
    if field == "sha256":
        described = json.loads(copied.with_suffix(".json").read_text())
        copied.with_suffix(".json").write_text(json.dumps({**described, field: value}))
    else:
        forge(copied, {field: value})
    with pytest.raises(ValueError, match=message) as caught:
        open_checkpoint(copied)
    assert "\n" not in str(caught.value)


def test_a_key_that_stands_twice(copied):
    file = copied.with_suffix(".json")
    file.write_text(file.read_text().replace("{", '{"model": "BPR",', 1))
    with pytest.raises(ValueError, match=r"copy\.json is damaged \(the key 'model' is there twice\)"):
        open_checkpoint(copied)


def test_a_description_nested_without_end(copied):
    copied.with_suffix(".json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match=r"copy\.json is damaged"):
        read_safe_pair(copied)


# ---------------------------------------------------------------- models that keep more than weights


def test_tied_layers_and_tensors_beside_the_weights(data_path, tmp_path):
    run = start("POWERec", data_path, **SETTINGS, checkpoint_dir=str(tmp_path / "saved"))
    table = run.model.item_embedding
    run.model.tied, run.model.part = table, torch.nn.Parameter(table.detach()[:2])
    run.model.seen, run.model.counts = torch.arange(3.0), np.arange(4)
    run.model.other_parameter_name = [*run.model.other_parameter_name, "seen", "counts"]
    trainer = run.trainer()
    trainer.fit(run.train_data, run.valid_data)
    saved = read_safe_pair(trainer.saved_model_file)
    assert saved.weights.keys() == run.model.state_dict().keys()
    assert torch.equal(saved.weights["tied"], saved.weights["item_embedding"])
    assert torch.equal(saved.other_parameter["seen"], run.model.seen)
    assert np.array_equal(saved.other_parameter["counts"], run.model.counts)
    trainer.evaluate(run.test_data)
    trainer.resume_checkpoint(trainer.saved_model_file)


def test_what_cannot_be_saved_is_noticed_before_the_first_epoch(data_path, tmp_path):
    run = start("POWERec", data_path, **SETTINGS, checkpoint_dir=str(tmp_path / "saved"))
    run.model.seen = {1, 2}
    run.model.other_parameter_name = [*run.model.other_parameter_name, "seen"]
    with pytest.raises(ValueError, match=r"POWERec\.seen is a set, which cannot be saved"):
        run.trainer()


# ---------------------------------------------------------------- where the data are


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A folder with data and a checkpoint that was trained within it, on a relative path."""
    write_planted(tmp_path / "project" / "dataset", {"visual": 6})
    monkeypatch.chdir(tmp_path / "project")
    run = start("POWERec", Path("dataset"), **SETTINGS, checkpoint_dir="saved")
    trainer = run.trainer()
    trainer.fit(run.train_data, run.valid_data)
    Path(trainer.saved_model_file).rename("saved/run.pth")
    for suffix in (".json", ".safetensors"):
        Path(trainer.saved_model_file).with_suffix(suffix).rename(f"saved/run{suffix}")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "project"


def test_a_checkpoint_finds_its_data_from_another_folder(project):
    opened = open_checkpoint(project / "saved" / "run.json")
    assert Path(opened.config["data_path"]) == project / "dataset" / "toy"
    assert not list(Path().iterdir())


def test_a_moved_project_finds_its_data(project):
    moved = project.rename(project.with_name("moved"))
    opened = open_checkpoint(moved / "saved" / "run.json")
    assert Path(opened.config["data_path"]).resolve() == moved / "dataset" / "toy"


def test_data_path_names_the_folder(project):
    (project / "dataset").rename(project / "data")
    with pytest.raises(FileNotFoundError, match="data set 'toy', which is not in dataset or .*give --data_path"):
        open_checkpoint(project / "saved" / "run.json")
    for options in ({}, {"trust_pickle": True}):
        opened = open_checkpoint(project / "saved" / "run.pth", data_path=project / "data", **options)
        assert Path(opened.config["data_path"]) == project / "data" / "toy"
    with pytest.raises(FileNotFoundError, match="which is not in none; bring it back"):
        open_checkpoint(project / "saved" / "run.json", data_path="none")
    assert not list(Path().iterdir())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("trust_pickle", [False, True])
def test_weights_that_are_not_finite_are_refused(data_path, tmp_path, value, trust_pickle):
    run = start("POWERec", data_path, **SETTINGS, checkpoint_dir=str(tmp_path))
    trainer = run.trainer()
    trainer.fit(run.train_data, run.valid_data)
    run.model.item_embedding.data[1, 2] = value
    trainer._save_checkpoint(2)
    if trust_pickle:
        Path(trainer.saved_model_file).with_suffix(".safetensors").unlink()
    with pytest.raises(ValueError, match="item_embedding holds NaN or infinite weights"):
        open_checkpoint(trainer.saved_model_file, trust_pickle)


@pytest.mark.parametrize("model", ["POWERec", "MARGO"])
def test_features_that_have_changed_since_are_refused_around_a_backbone_too(tmp_path, model):
    path = write_planted(tmp_path / "data", {"visual": 6, "textual": 4})
    own = {"knn_k": 4} if model == "MARGO" else {}
    run = start(model, path, **PRE_SPLIT, **own, epochs=1, embedding_size=8, checkpoint_dir=str(tmp_path / "saved"))
    trainer = run.trainer()
    trainer.fit(run.train_data, run.valid_data)
    file = path / "toy" / "toy.visual"
    first, *others = file.read_text().splitlines()[1:]
    item, values = first.split("\t")
    changed = " ".join(["9", *values.split()[1:]])
    file.write_text("\n".join([file.read_text().splitlines()[0], f"{item}\t{changed}", *others]) + "\n")
    with pytest.raises(ValueError, match="trained on other visual features"):
        open_checkpoint(trainer.saved_model_file)
