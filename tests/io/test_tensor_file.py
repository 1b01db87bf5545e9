"""Nested values and tensors in one safetensors file."""

from __future__ import annotations

import os
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import optim

from recbole_mm.io import tensor_file
from recbole_mm.io.tensor_file import pack, read_tensor_file, unpack, write_tensor_file
from recbole_mm.trainer.random_state import random_state, set_random_state


def round_trip(value, path):
    tensors = {}
    content = pack(value, "value", tensors)
    write_tensor_file(path, tensors, content)
    return unpack(*reversed(read_tensor_file(path)))


def assert_same(left, right):
    assert type(left) is type(right)
    if isinstance(left, torch.Tensor):
        assert left.dtype == right.dtype and left.shape == right.shape and torch.equal(left, right)
    elif isinstance(left, np.ndarray):
        assert left.dtype == right.dtype and np.array_equal(left, right)
    elif isinstance(left, dict):
        assert list(left) == list(right)
        for key in left:
            assert_same(left[key], right[key])
    elif isinstance(left, (list, tuple)):
        assert len(left) == len(right)
        for pair in zip(left, right, strict=True):
            assert_same(*pair)
    else:
        assert left == right or (left != left and right != right)


@pytest.mark.parametrize("value", [
    {"a": [1, (2.5, None), "text"], 0: True, "0": False, (1, "b") and 1.5: {}},
    {1: torch.ones(2), "1": torch.zeros(2), "1_": torch.full((2,), 3.0)},
    {"tensor": "value", "other": 1}, {"tuple": [1]}, {"dict": 1}, {"array": torch.ones(1)},
    [float("inf"), -float("inf"), float("nan"), 0.1, 2**70, ""], (), [], {},
    torch.tensor(3), torch.empty(0, 4), torch.ones(2, 3).t(), torch.tensor([True]), np.arange(3, dtype=np.int32),
    torch.ones(3, dtype=torch.bfloat16), torch.arange(6.0)[1:3],
])  # fmt: skip
def test_values_come_back(tmp_path, value):
    assert_same(round_trip(value, tmp_path / "file.safetensors"), value)


@pytest.mark.parametrize("value", [{1, 2}, object(), {"a": [b"bytes"]}, torch.eye(2).to_sparse()])
def test_what_cannot_be_saved_is_named(value):
    with pytest.raises(ValueError, match="^state.* cannot be saved"):
        pack(value, "state", {})


OPTIMIZERS = {
    "adam": lambda p: optim.Adam(p, fused=True),
    "adamw": lambda p: optim.AdamW(p, weight_decay=0.1),
    "sgd": lambda p: optim.SGD(p, lr=0.1, momentum=0.9),
    "adagrad": lambda p: optim.Adagrad(p),
    "rmsprop": lambda p: optim.RMSprop(p, momentum=0.5),
    "sparse_adam": lambda p: optim.SparseAdam(p),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_goes_on_as_it_was(tmp_path, name):
    def step(table, optimizer):
        table(torch.tensor([0, 2])).pow(2).sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    table = torch.nn.Embedding(4, 3, sparse=name == "sparse_adam")
    optimizer = OPTIMIZERS[name](list(table.parameters()))
    step(table, optimizer)
    state = round_trip([table.state_dict(), optimizer.state_dict()], tmp_path / "file.safetensors")
    assert_same(state[1], optimizer.state_dict())
    again = torch.nn.Embedding(4, 3, sparse=name == "sparse_adam")
    resumed = OPTIMIZERS[name](list(again.parameters()))
    again.load_state_dict(state[0])
    resumed.load_state_dict(state[1])
    for _ in range(2):
        step(table, optimizer)
        step(again, resumed)
    assert torch.equal(table.weight, again.weight)


def test_random_generators_go_on_as_they_were(tmp_path):
    random.gauss(0, 1), np.random.standard_normal()  # each keeps the second number of a pair
    state = round_trip(random_state(), tmp_path / "file.safetensors")

    def draw():
        return random.gauss(0, 1), np.random.standard_normal(), torch.rand(1).item()

    expected = draw()
    random.seed(7), np.random.seed(7), torch.manual_seed(7)
    set_random_state(state)
    assert draw() == expected


def test_every_flipped_bit_is_found(tmp_path):
    file = tmp_path / "file.safetensors"
    write_tensor_file(file, {"a": torch.arange(4.0), "b": torch.ones(2)}, {"epoch": 3})
    whole = file.read_bytes()
    expected = read_tensor_file(file)
    for place in range(8, len(whole)):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        try:
            tensors, content = read_tensor_file(file)
        except ValueError as error:
            assert str(file) in str(error) and "\n" not in str(error)
            continue
        assert content is None or content == expected[1]
        if content is not None:
            assert_same(tensors, expected[0])


def test_a_kill_while_tensors_are_written_leaves_nothing_for_ever(tmp_path, monkeypatch):
    """safetensors writes under a name of its own beside its file, which the next write into the folder deletes."""

    def dying(tensors, file, metadata):
        Path(file).with_name(".tmpAb3xY9").write_bytes(bytes(100))
        os._exit(9)

    process = os.fork()
    if process == 0:
        monkeypatch.setattr(tensor_file, "save_file", dying)
        write_tensor_file(tmp_path / "a", {"x": torch.zeros(3)}, 1)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 9
    assert list(tmp_path.iterdir())
    write_tensor_file(tmp_path / "b", {"x": torch.zeros(3)}, 1)
    assert [file.name for file in tmp_path.iterdir()] == ["b"]
    assert read_tensor_file(tmp_path / "b")[1] == 1


def test_an_old_file_stays_where_the_new_one_cannot_be_written(tmp_path, monkeypatch):
    write_tensor_file(tmp_path / "a", {"x": torch.zeros(3)}, 1)

    def failing(tensors, file, metadata):
        raise tensor_file.SafetensorError("no room")

    monkeypatch.setattr(tensor_file, "save_file", failing)
    with pytest.raises(OSError, match="a cannot be written: no room"):
        write_tensor_file(tmp_path / "a", {"x": torch.ones(3)}, 2)
    assert [file.name for file in tmp_path.iterdir()] == ["a"] and read_tensor_file(tmp_path / "a")[1] == 1
