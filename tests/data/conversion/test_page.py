"""docs/convert.md: its Python blocks run, and its tables name the layouts that there are."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from recbole_mm.__main__ import main
from recbole_mm.data import converters
from recbole_mm.registry import CONVERTERS

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "convert.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


def test_every_layout_has_a_row():
    converters.load()
    assert all(f"| `{name}` |" in PAGE for name in CONVERTERS)


def test_the_frames_of_the_page(capsys):
    rows = [(f"u{u}", f"i{i}", u + i) for u in range(6) for i in range(6)]
    ratings = pd.DataFrame(rows, columns=["user", "item", "time"])
    films = pd.DataFrame({"item": [f"i{i}" for i in range(6)], "title": list("abcdef")})
    exec(BLOCKS[0], {"ratings": ratings, "films": films, "vectors": np.eye(6)})  # noqa: S102  our own page
    assert "splits        train 24, valid 6, test 6" in capsys.readouterr().out


def test_the_layout_of_the_page(capsys, monkeypatch):
    monkeypatch.setattr(CONVERTERS, "_entries", dict(CONVERTERS._entries))
    monkeypatch.setattr(sys, "path", [*sys.path])
    Path("page_layouts.py").write_text(BLOCKS[1])
    Path("toys.words").write_text("u i\nv i\n")
    assert main("convert auto toys.words --plugins page_layouts".split()) == 0
    assert Path("dataset_atomic/toys/toys.inter").read_text() == "user_id:token\titem_id:token\nu\ti\nv\ti\n"
