"""Graphs on disk: built once, by one of those who ask."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time

import numpy as np
import pytest

from recbole_mm.graph import GraphCache
from tests.waiting import LIMIT

ARRAY = np.arange(6, dtype=np.float32)


def test_of_those_who_ask_at_once_one_builds(tmp_path):
    built, found = [], []
    begin = threading.Barrier(4)

    def build():
        built.append(True)
        time.sleep(0.3)  # long enough for the others to look for the file
        return {"values": np.arange(3)}

    def ask():
        cache = GraphCache(tmp_path / "graphs")
        begin.wait()
        found.append(cache.get("kind", [np.ones(2)], {"k": 1}, build, dict)["values"].tolist())

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [[0, 1, 2]] * 4
    assert len(built) == 1


def test_a_damaged_file_is_built_again(tmp_path):
    cache = GraphCache(tmp_path)
    for number in (1, 2):
        arrays = cache.get("kind", [], {}, lambda number=number: {"values": np.full(2, number)}, dict)
        assert arrays["values"].tolist() == [number] * 2
        (file,) = tmp_path.glob("kind-*.npz")
        file.write_bytes(file.read_bytes()[:20])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_built_again(tmp_path, value):
    cache = GraphCache(tmp_path)
    cache.get("kind", [], {}, lambda: {"values": np.array([1.0, value])}, dict)
    assert cache.get("kind", [], {}, lambda: {"values": np.array([2.0])}, dict)["values"].tolist() == [2]


@pytest.mark.parametrize(
    ("kind", "inputs", "parameters"),
    [
        ("other", [ARRAY], {"k": 1}),
        ("kind", [ARRAY + np.float32(1e-6)], {"k": 1}),
        ("kind", [ARRAY.astype(np.float64)], {"k": 1}),
        ("kind", [ARRAY.reshape(2, 3)], {"k": 1}),
        ("kind", [ARRAY, ARRAY], {"k": 1}),
        ("kind", [ARRAY], {"k": 2}),
        ("kind", [ARRAY], {"n": 1}),
    ],
)
def test_whatever_differs_is_built_by_itself(tmp_path, kind, inputs, parameters):
    cache = GraphCache(tmp_path)
    first = cache.get("kind", [ARRAY], {"k": 1}, lambda: {"values": np.zeros(1)}, dict)
    second = cache.get(kind, inputs, parameters, lambda: {"values": np.ones(1)}, dict)
    again = cache.get("kind", [ARRAY], {"k": 1}, lambda: {"values": np.ones(1)}, dict)
    assert (first["values"], second["values"], again["values"]) == (0, 1, 0)


def _ask(folder, begin, answers):
    def build():
        time.sleep(0.3)  # long enough for the other to look for the file
        return {"values": np.full(2, os.getpid())}

    begin.wait()
    answers.put(GraphCache(folder).get("kind", [ARRAY], {"k": 1}, build, dict)["values"].tolist())


@pytest.mark.slow
def test_of_two_processes_one_builds(tmp_path):
    context = multiprocessing.get_context("spawn")
    begin, answers = context.Barrier(2), context.Queue()
    processes = [context.Process(target=_ask, args=(tmp_path / "graphs", begin, answers)) for _ in range(2)]
    for process in processes:
        process.start()
    first, second = (answers.get(timeout=LIMIT) for _ in processes)
    for process in processes:
        process.join()
    assert first == second
    assert first[0] in [process.pid for process in processes]
    assert [file.suffix for file in (tmp_path / "graphs").iterdir() if not file.name.startswith(".")] == [".npz"]
