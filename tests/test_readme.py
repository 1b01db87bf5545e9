"""README names what there is."""

from __future__ import annotations

import re
from pathlib import Path

import recbole_mm  # noqa: F401  registers the models
from recbole_mm.registry import MODELS, variants
from recbole_mm.setting_rules import properties_dir

README = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_model_table_is_the_registry():
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (\d{4}) \|", README, flags=re.MULTILINE)
    entries = {name: MODELS.entry(name).facts for name in MODELS}
    assert {name: (paper, int(year)) for name, paper, year in rows} == {
        name: (facts["paper"], facts["year"]) for name, facts in entries.items()
    }
    assert all(f"`{variant}`" in README for variant in variants())


def test_every_model_has_settings_and_a_grid():
    for name in (*MODELS, *variants()):
        assert (properties_dir() / "model" / f"{name}.yaml").is_file()
        assert (properties_dir() / "hyper" / f"{name}.hyper").is_file()
