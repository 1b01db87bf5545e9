"""Readers of settings: yaml files, `.hyper` files, and the texts of a command line."""

from __future__ import annotations

import ast
import json

import yaml
from hypothesis import given
from hypothesis import strategies as st

from recbole_mm.io.yaml_files import SettingsLoader, read_settings_file
from recbole_mm.search_space import KINDS, read_hyper_file
from recbole_mm.settings import plain_value
from tests.fuzz.strategies import fuzz, mutated, read_or_refuse

keys = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,11}", fullmatch=True)
numbers = st.integers(-(2**40), 2**40) | st.floats(allow_nan=False, allow_infinity=False)
plain = st.none() | st.booleans() | numbers | st.text(max_size=12)
values = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=3), max_leaves=8
)
YAML = b"epochs: 3\nlearning_rate: 1e-3\nmodalities: [visual, 'te xt']\neval_args: {order: RO}\n"
HYPER = b"# ranges\nprompt_num choice [1,2]\nweak_weight uniform 0,1\nlearning_rate loguniform -8,-4\n"


@fuzz
@given(settings=st.dictionaries(keys, values, min_size=1, max_size=6), flow=st.booleans())
def test_yaml_gives_what_was_written(tmp_path, settings, flow):
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(settings, default_flow_style=flow, allow_unicode=True), encoding="utf-8")
    read = read_or_refuse(lambda: read_settings_file(file), file)
    if read is not None:  # a character that YAML forbids is refused
        # RecBole's numbers have an exponent without a point, which plain YAML writes as a text
        assert json.dumps(read) == json.dumps(yaml.load(file.read_text(encoding="utf-8"), Loader=SettingsLoader))
        assert set(read) == set(settings)


@fuzz
@given(data=st.data())
def test_damaged_yaml(tmp_path, data):
    file = tmp_path / "mine.yaml"
    file.write_bytes(data.draw(mutated(YAML)))
    read = read_or_refuse(lambda: read_settings_file(file), file)
    assert read is None or all(isinstance(key, str) for key in read)


@fuzz
@given(text=st.text(max_size=60) | st.binary(max_size=60))
def test_anything_as_yaml(tmp_path, text):
    file = tmp_path / "mine.yaml"
    file.write_bytes(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text)
    read_or_refuse(lambda: read_settings_file(file), file)


@fuzz
@given(data=st.data())
def test_damaged_hyper_files(tmp_path, data):
    file = tmp_path / "mine.hyper"
    file.write_bytes(data.draw(mutated(HYPER)))
    ranges = read_or_refuse(lambda: read_hyper_file(file), file)
    assert ranges is None or all(found.kind in KINDS and found.values for found in ranges)


@fuzz
@given(choices=st.lists(st.none() | st.booleans() | numbers | st.text(max_size=8), min_size=1, max_size=5))
def test_hyper_choices_are_the_values_written(tmp_path, choices):
    file = tmp_path / "mine.hyper"
    line = f"parameter choice {choices!r}"
    file.write_text(line + "\n", encoding="utf-8", errors="surrogatepass")
    ranges = read_or_refuse(lambda: read_hyper_file(file), file)
    if ranges is not None:
        assert repr(list(ranges[0].values)) == repr(choices)


@fuzz
@given(text=st.text(max_size=40))
def test_a_commands_text_is_read_and_never_run(text):
    value = plain_value(text, "x")
    if not isinstance(value, str):
        assert isinstance(value, (bool, int, float, list, tuple, dict, type(None)))
    elif value != text:
        assert ast.literal_eval(text) == value
