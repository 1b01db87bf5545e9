"""Graphs on disk: built once, by one of those who ask."""

from __future__ import annotations

import threading
import time

import numpy as np

from recbole_mm.graph import GraphCache


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
        found.append(cache.arrays("kind", [np.ones(2)], {"k": 1}, build)["values"].tolist())

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
        arrays = cache.arrays("kind", [], {}, lambda number=number: {"values": np.full(2, number)})
        assert arrays["values"].tolist() == [number] * 2
        (file,) = tmp_path.glob("kind-*.npz")
        file.write_bytes(file.read_bytes()[:20])
