"""What each floor may know: RecBole's inside in `host` alone, and nothing of RecBole is changed below it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "recbole_mm"
PRIVATE = {
    "_dataset", "external_config_dict", "internal_config_dict", "final_config_dict", "cmd_config_dict",
    "file_config_dict", "variable_config_dict", "argument_list", "dataset_arguments",
}  # fmt: skip


def test_recboles_private_parts_are_named_in_host_alone():
    found = []
    for file in PACKAGE.rglob("*.py"):
        if PACKAGE / "host" in file.parents:
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = {getattr(node, "attr", None), *(getattr(node, "module", None) or "").split(".")}
            if names & PRIVATE:
                found.append(f"{file.relative_to(PACKAGE)}:{node.lineno}")
    assert not found


BARE = """
import sys, types
package = types.ModuleType("recbole_mm")  # without what its own import does
package.__path__ = [{path!r}]
sys.modules["recbole_mm"] = package
import recbole.config, recbole.data.dataset, recbole.trainer, recbole.evaluator.metrics
def codes():
    classes = [recbole.config.Config, recbole.data.dataset.Dataset, recbole.trainer.Trainer]
    return {{(kind, name): getattr(value, "__code__", value) for kind in classes for name, value in vars(kind).items()}}
before = codes()
import {modules}
assert codes() == before
above = tuple("recbole_mm." + room for room in ("host", "model", "trainer", "registration"))
assert not [name for name in sys.modules if name.startswith(above)]
"""


@pytest.mark.parametrize("floor", ["graph", "nn", "data"])
def test_lower_floors_change_nothing_of_recbole(floor):
    files = (PACKAGE / floor).glob("*.py")
    modules = ", ".join(sorted(f"recbole_mm.{floor}.{file.stem}" for file in files if file.stem != "__init__"))
    code = BARE.format(path=str(PACKAGE), modules=modules)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


AGAIN = """
import importlib, recbole.trainer, recbole.config, recbole_mm, recbole_mm.startup
def state():
    values = [value for kind in (recbole.config.Config, recbole.trainer.Trainer) for value in vars(kind).values()]
    return [(getattr(value, "__code__", value), getattr(value, "__kwdefaults__", None)) for value in values]
before = state()
importlib.reload(recbole_mm.startup)
assert state() == before
"""


def test_applying_everything_again_changes_nothing():
    done = subprocess.run([sys.executable, "-c", AGAIN], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
