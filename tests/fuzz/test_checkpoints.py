"""Readers of checkpoints: descriptions, weights and states of training, whole and damaged."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recbole_mm.io.run_files import RunFiles
from recbole_mm.io.tensor_file import pack, read_content, read_tensor_file, unpack, write_tensor_file
from recbole_mm.load import open_checkpoint
from recbole_mm.testing.toy import PRE_SPLIT, start, write_planted
from recbole_mm.trainer.checkpoint import read_safe_pair
from recbole_mm.trainer.resume import find_resume_point
from tests.forgery import forge
from tests.fuzz.strategies import fuzz, mutated, read_or_refuse

wrong = st.none() | st.booleans() | st.integers() | st.text(max_size=6) | st.just([]) | st.just({}) | st.just([{}])
plain = st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False) | st.text(max_size=6)
nested = st.recursive(
    plain,
    lambda inner: st.lists(inner, max_size=3)
    | st.tuples(inner, inner)
    | st.dictionaries(st.text(max_size=4) | st.integers(0, 9), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> RunFiles:
    """The files of a short run."""
    folder = tmp_path_factory.mktemp("run")
    write_planted(folder / "data", {"visual": 3})
    run = start(
        "VBPR", folder / "data", **PRE_SPLIT, epochs=1, embedding_size=2, checkpoint_dir=str(folder), topk=[5],
        valid_metric="Recall@5",
    )  # fmt: skip
    trainer = run.trainer()
    trainer.fit(run.train_data, run.valid_data)
    return RunFiles.of(trainer.saved_model_file)


@pytest.fixture
def files(trained, tmp_path) -> RunFiles:
    """The same in a folder of the test's own."""
    for file in trained.all:
        if file.exists():
            shutil.copy(file, tmp_path)
    return RunFiles(tmp_path / trained.pickle.name)


@fuzz
@given(data=st.data())
def test_a_damaged_description(files, trained, data):
    whole = trained.description.read_bytes()
    files.description.write_bytes(data.draw(mutated(whole)))
    read = read_or_refuse(lambda: read_safe_pair(files.description), Path(files.pickle.stem))
    kept = read_safe_pair(trained.pickle)
    for field in dataclasses.fields(kept):
        if field.name not in ("path", "weights", "data_paths"):
            assert read is None or getattr(read, field.name) == getattr(kept, field.name)


@fuzz
@given(data=st.data())
def test_fields_of_another_type(files, trained, data):
    field = data.draw(st.sampled_from(sorted(read_content(trained.weights))))
    shutil.copy(trained.weights, files.weights)
    forge(files.pickle, {field: data.draw(wrong)})
    read = read_or_refuse(lambda: read_safe_pair(files.pickle), Path(files.pickle.stem))
    assert read is None or isinstance(read.settings, dict) and isinstance(read.model, str)


@fuzz
@given(data=st.data())
def test_settings_of_another_type(files, trained, data):
    key = data.draw(st.sampled_from(sorted(read_content(trained.weights)["settings"])))
    shutil.copy(trained.weights, files.weights)
    forge(files.pickle, settings={key: data.draw(wrong)})
    opened = read_or_refuse(lambda: open_checkpoint(files.description), Path(files.pickle.stem))
    assert opened is None or opened.model is not None


@fuzz
@given(data=st.data())
def test_damaged_weights_never_pass_for_the_trained(files, trained, data):
    whole = trained.weights.read_bytes()
    damaged = data.draw(mutated(whole))
    files.weights.write_bytes(damaged)
    read = read_or_refuse(lambda: read_safe_pair(files.pickle), Path(files.pickle.stem))
    if read is not None:
        kept = read_safe_pair(trained.pickle).weights
        assert all(torch.equal(read.weights[name], kept[name]) for name in kept)


@fuzz
@given(data=st.data())
def test_a_damaged_state_is_refused(files, trained, data):
    whole = trained.resume.read_bytes()
    damaged = data.draw(mutated(whole))
    files.resume.write_bytes(damaged)
    point = read_or_refuse(lambda: find_resume_point(files.pickle, False), Path(files.pickle.stem))
    assert point is None or damaged == whole


@fuzz
@given(content=nested, numbers=st.lists(st.floats(width=32, allow_nan=False), max_size=4))
def test_content_and_tensors_come_back(tmp_path, content, numbers):
    tensors: dict[str, torch.Tensor] = {}
    packed = pack({"content": content, "tensor": torch.tensor(numbers)}, "state", tensors)
    write_tensor_file(tmp_path / "state", tensors, packed)
    back = unpack(*reversed(read_tensor_file(tmp_path / "state")))
    assert back["content"] == content and type(back["content"]) is type(content)
    assert torch.equal(back["tensor"], torch.tensor(numbers))
