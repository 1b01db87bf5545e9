"""Settings of encoders: whatever they hold, they are refused in one line or name the libraries' own types alone."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from recbole_mm.encoder.pretrained import clear_errors
from recbole_mm.encoder.safety import check_safe
from tests.fuzz.strategies import fuzz, mutated, read_or_refuse

names = st.sampled_from(["", "a", "evil.Evil", "os.abort", "sentence_transformers.models.Pooling", "../a", "1_Pooling"])
keys = st.sampled_from(["type", "types", "path", "weight_map", "activation_function"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | names,
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(keys, inner, max_size=3),
    max_leaves=12,
)


def check(folder) -> bool:
    with clear_errors(folder):
        check_safe(folder)
    return True


@fuzz
@given(value=values, name=st.sampled_from(["modules.json", "config.json", "model.safetensors.index.json"]))
def test_any_settings(tmp_path_factory, value, name):
    folder = tmp_path_factory.mktemp("encoder")
    (folder / "1_Pooling").mkdir()
    (folder / name).write_text(json.dumps(value))
    if read_or_refuse(lambda: check(folder), folder / name):
        assert name != "modules.json" or all(module["type"].startswith("sentence_transformers.") for module in value)
        assert '"activation_function": "os.abort"' not in json.dumps(value)


@fuzz
@given(data=st.data())
def test_damaged_settings(tmp_path, data):
    modules = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}]
    file = tmp_path / "modules.json"
    file.write_bytes(data.draw(mutated(json.dumps(modules).encode())))
    read_or_refuse(lambda: check(tmp_path), file)
