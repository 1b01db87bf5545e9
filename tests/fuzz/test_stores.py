"""Readers of an experiment's store: runs, searches and tables, whole and damaged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbole_mm.experiment.identity import row_name, run_name
from recbole_mm.experiment.record import CurvePoint, LeakRecord, Record, RunResult, Tried
from recbole_mm.experiment.store import Store
from recbole_mm.experiment.tables import read_store
from tests.fuzz.strategies import fuzz, mutated, read_or_refuse

ROW = row_name("toy", "BPR", {})
RUNS = [run_name(ROW, seed) for seed in range(2)]
JSON_FILES = [f"runs/{RUNS[0]}.json", "trials/search.json", "leaks/check.json", "store.json"]
TABLES = ["runs", "per_user", "lists", "curves", "trials", "leaks", "data/hash/items", "data/hash/test"]
wrong = st.none() | st.booleans() | st.integers(-9, 9) | st.floats() | st.text(max_size=6) | st.just([]) | st.just({})


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    store = Store(tmp_path_factory.mktemp("store") / "out")
    users = pd.DataFrame({"user": ["a", "b"], "ndcg@5": [0.5, 0.25], "items": [["i", "j"], ["j", "k"]]})
    counts = {"training_rows": [1, 2]}
    data = {
        "items": pd.DataFrame({"item": ["i", "j"], **counts}),
        "users": pd.DataFrame({"user": ["a", "b"], **counts}),
        "test": pd.DataFrame({"user": ["a", "b"], "item": ["i", "j"]}),
    }
    for seed, run in enumerate(RUNS):
        record = Record(run, ROW, "toy", "BPR", "BPR", seed, "{}", test={"ndcg@5": 0.375}, data="hash")
        store.add(RunResult(record, users, [CurvePoint("", 0, "loss", 1.0)], data))
    store.add_trials("search", [Tried("toy", "row", "BPR", 0, {"a": 1}, "NDCG@5", 0.5, 3, "finished", "", True)])
    store.add_leak(LeakRecord("check", "toy", "visual", 0, "not found", 0.1, 0.2, 0.1, 0.3, 200))
    store.write_tables()
    return store.folder


@pytest.fixture
def out(whole, tmp_path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "out"))


@fuzz
@given(data=st.data(), name=st.sampled_from(JSON_FILES))
def test_a_damaged_json_file(out, whole, data, name):
    file = out / name
    file.write_bytes(data.draw(mutated((whole / name).read_bytes())))
    try:
        read_or_refuse(lambda: Store(out).check(), file)
    finally:
        shutil.copy(whole / name, file)


@fuzz
@given(data=st.data())
def test_a_field_of_a_run_that_is_another(out, whole, data):
    """It is refused, or of the type that it must be."""
    file = out / f"runs/{RUNS[0]}.json"
    content = json.loads((whole / f"runs/{RUNS[0]}.json").read_text())
    field = data.draw(st.sampled_from(sorted(content["record"])))
    value = data.draw(wrong)
    content["record"][field] = value
    file.write_text(json.dumps(content))
    found = read_or_refuse(lambda: Store(out).records(), file)
    if found is not None:
        right = type(getattr(found[0], field))
        assert type(value) is right or right is float and type(value) is int, (field, value)


@fuzz
@given(data=st.data(), name=st.sampled_from(TABLES))
def test_a_damaged_table(out, whole, data, name):
    """What is read in spite of damage has the whole table's columns and types."""
    file = out / f"{name}.parquet"
    content = (whole / f"{name}.parquet").read_bytes()
    file.write_bytes(data.draw(mutated(content)))
    try:
        found = read_or_refuse(lambda: read_store(out), file)
        if found is not None and name in ("per_user", "lists"):
            assert set(getattr(found, name)["run"]) >= set(RUNS)
    finally:
        file.write_bytes(content)
