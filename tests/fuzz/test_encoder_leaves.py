"""Any value in the settings of encoders: they load and give finite features, or are refused in one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_mm.encoder import load_sound_encoder, load_text_encoder
from tests.encoder.test_auto import TOWER, write_text_model
from tests.extraction.test_sounds import RATE, tone, write_ast, write_whisper
from tests.fuzz.strategies import CASES, fuzz, read_or_refuse

transformers = pytest.importorskip("transformers")

VALUES = [None, True, "x", "", [], [1], {}, 0, 1, -1, 3, 0.5, -2.5, 10**5, 10**12, 1e30, float("nan"), float("inf")]


def write_bert(folder: Path) -> None:
    write_text_model(folder, transformers.BertConfig(**TOWER, vocab_size=40))


KINDS = {
    "whisper": (write_whisper, load_sound_encoder, [tone(0.3)], ("config.json", "preprocessor_config.json")),
    "ast": (write_ast, load_sound_encoder, [tone(0.3)], ("config.json", "preprocessor_config.json")),
    "bert": (write_bert, load_text_encoder, ["a cowboy doll"], ("config.json", "tokenizer_config.json")),
}  # fmt: skip


def paths(settings: Any, start: tuple = ()) -> Iterator[tuple]:
    """The way to each value of a file."""
    if isinstance(settings, dict):
        for key, value in settings.items():
            yield (*start, key)
            yield from paths(value, (*start, key))


def changed(settings: dict, path: tuple, value: Any) -> dict:
    copy = json.loads(json.dumps(settings))
    place = copy
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return copy


def load(folder: Path, kind: str) -> torch.Tensor:
    _, loader, contents, _ = KINDS[kind]
    with torch.no_grad():
        return loader(str(folder))(contents)


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    found = {}
    for kind, (write, *_) in KINDS.items():
        found[kind] = tmp_path_factory.mktemp(kind)
        write(found[kind])
    return found


@pytest.mark.parametrize("kind", KINDS)
@settings(fuzz, max_examples=max(10, CASES // 5))  # an encoder is loaded and used in each
@given(data=st.data())
def test_a_value_that_is_another(folders, tmp_path, kind, data):
    file = data.draw(st.sampled_from(KINDS[kind][-1]))
    whole = json.loads((folders[kind] / file).read_text())
    path = data.draw(st.sampled_from(list(paths(whole))))
    value = data.draw(st.sampled_from(VALUES))
    folder = Path(shutil.copytree(folders[kind], tmp_path / "encoder", dirs_exist_ok=True))
    (folder / file).write_text(json.dumps(changed(whole, path, value)))
    rows = read_or_refuse(lambda: load(folder, kind), folder)
    assert rows is None or (len(rows) == 1 and rows.shape[1] > 0 and bool(rows.isfinite().all()))


def test_the_whole_ones_are_read(folders):
    assert np.all([load(folders[kind], kind).isfinite().all() for kind in KINDS])
    assert RATE == load_sound_encoder(str(folders["ast"])).rate
