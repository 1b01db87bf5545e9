"""Parts of each kind in one file outside the package (tests/outside), as an author has them who knows only the docs."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from recbole_mm import command_line, model_list
from recbole_mm.testing.toy import PRE_SPLIT, write_planted
from tests import commands
from tests.extraction.shop import write_shop

ROOT = Path(__file__).resolve().parents[1]
OUTSIDE = Path(__file__).parent / "outside"
MOST_LINES = 60
MOST_LINES_OF_A_TEST = 5


@pytest.fixture
def python(tmp_path):
    """Runs Python in the folder that has the author's files, in a process that knows nothing of them.

    Where it has an environment of its own, that is read while recbole_mm is imported.
    """
    for file in OUTSIDE.glob("my_*.py"):
        shutil.copy(file, tmp_path)

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
        if not environment:
            return commands.run([*arguments], tmp_path)
        merged = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment}
        command = [sys.executable, *arguments]
        return subprocess.run(command, cwd=tmp_path, env=merged, capture_output=True, text=True, check=False)

    return run


@pytest.fixture
def command(python):
    """Runs one of our commands that must succeed; gives what it printed."""

    def run(*arguments: str, **environment: str) -> str:
        done = python("-m", "recbole_mm", *arguments, **environment)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def train(command, folder: Path) -> str:
    """A checkpoint of the author's model with the author's adapter."""
    write_planted(folder / "dataset", {"visual": 6, "textual": 4})
    settings = {**PRE_SPLIT, "epochs": 1, "embedding_size": 8, "plugins": ["my_model", "my_adapter"],
                "feature_adapter": "affine", "affine_start": 0.5}  # fmt: skip
    given = [f"--{key}={value}" for key, value in settings.items()]
    shown = command("run", "--model=MeanFusion", "--dataset=toy", *given)
    return next(line for line in shown.splitlines() if line.startswith("checkpoint: ")).removeprefix("checkpoint: ")


def test_a_part_is_one_file_of_at_most_sixty_lines_and_its_test_a_class_of_five():
    files = list(OUTSIDE.glob("my_*.py"))
    assert len(files) >= 6
    assert [file.name for file in files if lines(file) > MOST_LINES] == []
    tests = ast.parse((OUTSIDE / "conformance.py").read_text(encoding="utf-8"))
    classes = [node for node in tests.body if isinstance(node, ast.ClassDef)]
    assert len(classes) >= 4
    assert all(node.end_lineno - node.lineno < MOST_LINES_OF_A_TEST for node in classes)


def lines(file: Path) -> int:
    return len(file.read_text(encoding="utf-8").splitlines())


def test_the_authors_tests_pass(python, tmp_path):
    shutil.copy(OUTSIDE / "conformance.py", tmp_path / "test_parts.py")
    done = python("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_parts.py")
    assert done.returncode == 0, done.stdout[-5000:]
    assert " passed" in done.stdout and "failed" not in done.stdout


def test_a_conformance_class_notices_a_broken_part(python, tmp_path):
    for name, right, wrong in (
        ("my_model.py", "project_all()).mean(dim=0)", "project_all()).mean(dim=0).detach()"),
        ("my_adapter.py", "features * self.factor + self.shift", "features * self.factor + features.mean(dim=0)"),
        ("my_analysis.py", "arguments.out / ", "arguments.out.parent / "),
        ("my_encoder.py", "torch.tensor(lengths)]", "torch.tensor(lengths) * len(contents)]"),
    ):
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert right in text
        (tmp_path / name).write_text(text.replace(right, wrong), encoding="utf-8")
    shutil.copy(OUTSIDE / "conformance.py", tmp_path / "test_parts.py")
    tests = "gradients or no_other or writes_files or all_its_parameters"
    done = python("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_parts.py", "-k", tests)
    failed = {line.split("::")[1] for line in done.stdout.splitlines() if line.startswith("FAILED")}
    assert failed == {"TestAffine", "TestItemLengths", "TestLetters", "TestMeanFusion"}, done.stdout[-5000:]


def test_commands_find_a_users_parts(command, tmp_path):
    checkpoint = train(command, tmp_path)
    with_model = "--plugins=my_model,my_adapter"
    assert "n_layers: 2    a whole number" in command("models", "MeanFusion", with_model)
    shown = command("analyse", "--plugins=my_analysis", with_model, "item-lengths", checkpoint, "--longest", "2")
    assert shown == f"wrote {Path('analysis') / 'item-lengths.csv'}\n"
    assert lines(tmp_path / "analysis" / "item-lengths.csv") == 3
    command("recommend", checkpoint, "--out", "top.parquet", with_model)


def test_extract_takes_a_users_encoder(command, python, tmp_path):
    write_shop(tmp_path)
    extract = ["extract", "--plugins", "my_encoder", "--dataset", "shop", "--encoder", "letters", "--modality"]
    assert "5 items" in command(*extract, "textual", "--fields", "title,plot")
    done = python("-m", "recbole_mm", *extract, "visual", "--images", "images")
    assert done.returncode == 2
    assert done.stderr == "error: encoder letters reads texts, and the contents are pictures; choose another\n"


def test_convert_knows_a_users_layout(command, python, tmp_path):
    (tmp_path / "mine.playlists").write_text("".join(f"u{u}: s{u} s{u + 1} s{u + 2}\n" for u in range(4)))
    (tmp_path / "titles.txt").write_text("".join(f"s{song} Song No {song}\n" for song in range(6)))
    plugin = "--plugins=my_converter"
    shown = command("convert", "auto", "mine.playlists", plugin, "--split", "leave-one-out")
    assert "layout playlists (mine.playlists)" in shown and "train 4, valid 4, test 4" in shown
    assert "a user, a colon and songs a line" in command("convert", "--help", plugin)
    command("convert", "playlists", "mine.playlists", plugin, "--out", "elsewhere")
    inter = (tmp_path / "elsewhere" / "mine" / "mine.inter").read_text()
    assert inter.startswith("user_id:token\titem_id:token\ttimestamp:float\nu0\ts0\t0\nu0\ts1\t1\n")
    (tmp_path / "mine.playlists").write_text("no colon\n")
    done = python("-m", "recbole_mm", "convert", "playlists", "mine.playlists", plugin, "--name", "bad")
    assert done.returncode == 2 and "error: mine.playlists, line 1: expected a user" in done.stderr


def install(folder: Path, module: str) -> dict[str, str]:
    """A package with an entry point, as pip leaves it; gives the environment that has it."""
    info = folder / "site" / "my_parts-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-parts\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[recbole_mm.plugins]\nmine = {module}\n")
    shutil.copy(OUTSIDE / "my_model.py", folder / "site" / "parts_of_mine.py")
    return {"PYTHONPATH": os.pathsep.join([str(ROOT), str(folder / "site")])}


def test_an_installed_packages_parts_are_there_unasked(command, tmp_path):
    assert "MeanFusion (2026): Mean fusion" in command("models", **install(tmp_path, "parts_of_mine"))


def test_an_installed_package_that_cannot_be_imported_is_named(python, tmp_path):
    done = python("-m", "recbole_mm", "models", **install(tmp_path, "parts_of_nobody"))
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: plugin 'parts_of_nobody' of the installed package my-parts: No module named")


def test_a_part_that_is_refused_is_one_line_that_names_the_users_module(python, tmp_path):
    (tmp_path / "bad.py").write_text('from recbole_mm import register_adapter\nregister_adapter("x")(int)\n')
    done = python("-m", "recbole_mm", "models", "--plugins", "bad")
    assert done.returncode == 2
    assert done.stderr == (
        "error: plugins: 'bad': feature adapter 'x' is builtins.int, and it does not derive from FeatureAdapter of "
        "recbole_mm.nn.feature_adapter; derive a class from FeatureAdapter of recbole_mm.nn.feature_adapter\n"
    )


def test_all_public_names_are_there():
    import recbole_mm

    assert {"run", "open_checkpoint", "MultimodalRecommender", "register_encoder"} <= set(recbole_mm.__all__)
    assert [name for name in recbole_mm.__all__ if getattr(recbole_mm, name, None) is None] == []
    with pytest.raises(AttributeError, match="module 'recbole_mm' has no attribute 'register_modle'"):
        recbole_mm.register_modle  # noqa: B018


@pytest.mark.parametrize(
    "given", [["--plugins=os,json"], ["--plugins", "os", "--plugins=json"], ["--plugins=['os', 'json']"]]
)
def test_plugins_of_a_command_are_given_as_a_run_takes_them_or_by_name(given, monkeypatch):
    asked = []
    monkeypatch.setattr(command_line, "import_plugins", asked.extend)
    assert command_line.run_parsed(model_list.add_parser, ["models", "FREEDOM", *given], "recbole-mm") == 0
    assert asked == ["os", "json"]


def test_plugins_that_are_no_list_of_names_are_one_line(capsys):
    assert command_line.run_parsed(model_list.add_parser, ["models", "--plugins=[3]"], "recbole-mm") == 2
    assert capsys.readouterr().err == "error: plugins: [3] must be a list of module names, such as ['my_adapters']\n"
