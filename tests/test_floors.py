"""What each floor may know: RecBole's inside in `host` alone, and nothing of RecBole is changed below it."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import run

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
import importlib, json, os, sys, types
package = types.ModuleType("recbole_mm")  # without what its own import does
package.__path__ = [sys.argv[1]]
sys.modules["recbole_mm"] = package
import recbole.config, recbole.data.dataset, recbole.trainer, recbole.evaluator.metrics
def codes():
    classes = [recbole.config.Config, recbole.data.dataset.Dataset, recbole.trainer.Trainer]
    return {(kind, name): getattr(value, "__code__", value) for kind in classes for name, value in vars(kind).items()}
before, ended = codes(), {}
for floor in sys.argv[2:]:  # each in a copy of this process
    child = os.fork()
    if child == 0:
        names = [name.removesuffix(".py") for name in os.listdir(os.path.join(sys.argv[1], floor))]
        for name in names:
            if name.isidentifier() and not name.startswith("__"):
                importlib.import_module(f"recbole_mm.{floor}.{name}")
        assert codes() == before
        above = tuple("recbole_mm." + room for room in ("host", "model", "trainer", "registration"))
        assert not [name for name in sys.modules if name.startswith(above)]
        sys.exit()
    ended[floor] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print(json.dumps(ended))
"""
FLOORS = ("graph", "nn", "data")


@pytest.fixture(scope="module")
def bare() -> tuple[dict[str, int], str]:
    """How the processes of :data:`BARE` ended, by floor, and their errors."""
    command = [sys.executable, "-c", BARE, str(PACKAGE), *FLOORS]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


@pytest.mark.parametrize("floor", FLOORS)
def test_lower_floors_change_nothing_of_recbole(floor, bare):
    ended, errors = bare
    assert ended[floor] == 0, errors


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
    done = run(["-c", AGAIN])
    assert done.returncode == 0, done.stderr
