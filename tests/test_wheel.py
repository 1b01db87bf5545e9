"""The wheel: it carries the properties, and works where it is installed, far from this folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from recbole_mm.testing.toy import PRE_SPLIT, QUIET, write_planted

ROOT = Path(__file__).resolve().parents[1]
SOURCES = (
    "setup.cfg",
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "recbole_mm_command.py",
    "run_hyper_mm.py",
    "run_recbole_mm.py",
    "recbole_mm",
    "properties",
)


def python(*arguments: str, cwd: Path, **environment: str) -> str:
    """Standard output of a fresh interpreter that finds no package by way of this folder."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": "", **environment}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy, because setuptools writes into the folder it builds from."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    python("-m", "build", "--wheel", "--no-isolation", "--outdir", "dist", cwd=folder)
    (built,) = (folder / "dist").glob("recbole_mm-*-py3-none-any.whl")
    return built


def test_every_module_and_every_settings_file_is_in_it(wheel):
    packed = set(ZipFile(wheel).namelist())
    modules = {str(file.relative_to(ROOT)) for file in (ROOT / "recbole_mm").rglob("*.py")}
    pages = {str(file.relative_to(ROOT)) for file in (ROOT / "recbole_mm").rglob("*.html")}
    settings = {
        f"recbole_mm/{file.relative_to(ROOT)}"
        for file in (ROOT / "properties").rglob("*.*")
        if file.is_file()
    }
    assert len(settings) > 5 and len(pages) > 3
    scripts = {"recbole_mm_command.py", "run_hyper_mm.py", "run_recbole_mm.py"}
    assert (modules | settings | pages | scripts | {"recbole_mm/py.typed"}) - packed == set()


SCRIPT = """
import json, sys
import recbole_mm
from recbole.quick_start import run_recbole
from recbole_mm.setting_rules import properties_dir

result = run_recbole(model="POWERec", dataset="toy", config_dict=json.loads(sys.argv.pop()))
print(json.dumps([recbole_mm.__file__, str(properties_dir()), result["test_result"]]))
"""


def test_it_runs_where_it_is_installed(wheel, tmp_path):
    installed, elsewhere = tmp_path / "installed", tmp_path / "elsewhere"
    elsewhere.mkdir()
    python(
        "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(installed), str(wheel), cwd=elsewhere
    )
    data = write_planted(tmp_path / "data", {"visual": 4})
    settings = {
        **QUIET,
        **PRE_SPLIT,
        "data_path": str(data),
        "epochs": 1,
        "topk": [5],
        "valid_metric": "NDCG@5",
    }
    (elsewhere / "script.py").write_text(SCRIPT)
    printed = python("script.py", json.dumps(settings), cwd=elsewhere, PYTHONPATH=str(installed))
    module, properties, result = json.loads(printed.splitlines()[-1])
    assert Path(module) == installed / "recbole_mm" / "__init__.py"
    assert Path(properties) == installed / "recbole_mm" / "properties"
    assert "ndcg@5" in result
    assert "POWERec (2024)" in python("-m", "recbole_mm", "models", cwd=elsewhere, PYTHONPATH=str(installed))
