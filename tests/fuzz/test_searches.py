"""The description that a search on Ray keeps of itself, whole and damaged."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from recbole_mm.tuning.description import Description, read_kept
from tests.fuzz.strategies import fuzz, mutated, read_or_refuse

WHOLE = {"settings": {"epochs": 3}, "model": "BPR", "dataset": "toy", "algo": "random", "max_evals": 4,
         "ranges": [["learning_rate", "choice", [0.1, 0.01]]]}  # fmt: skip
KINDS = {"settings": dict, "model": str, "dataset": str, "ranges": list, "algo": str, "max_evals": int}
values = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.just([]) | st.just({})


@fuzz
@given(content=mutated(json.dumps(WHOLE, indent=2).encode()))
def test_a_damaged_description(tmp_path, content):
    file = tmp_path / "search.json"
    file.write_bytes(content)
    found = read_or_refuse(lambda: read_kept(file, Description, "restore it"), file)
    assert found is None or all(type(found[key]) is kind for key, kind in KINDS.items())


@fuzz
@given(key=st.sampled_from(sorted(WHOLE)), value=values)
def test_a_field_that_is_another(tmp_path, key, value):
    file = tmp_path / "search.json"
    file.write_text(json.dumps(WHOLE | {key: value}))
    found = read_or_refuse(lambda: read_kept(file, Description, "restore it"), file)
    assert (found is not None) == (type(value) is KINDS[key])
