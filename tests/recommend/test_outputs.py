"""What a command writes takes the place of nothing that it reads."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from recbole_mm.__main__ import main
from recbole_mm.data.convert import convert_npy
from recbole_mm.io.files import check_is_no_input
from recbole_mm.io.run_files import RunFiles
from recbole_mm.tuning.command import main as search_main


@pytest.fixture
def run(checkpoint, tmp_path) -> RunFiles:
    """A run of the test's own."""
    files = RunFiles.of(checkpoint("POWERec"))
    for file, copy in zip(files.all, RunFiles(tmp_path / "run.pth").all, strict=True):
        if file.exists():
            shutil.copy(file, copy)
    return RunFiles(Path("run.pth"))


def contents(folder: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def refused(capsys, out: str | Path, arguments: list[str]) -> None:
    before = contents(Path())
    assert main([*arguments, f"--out={out}"]) == 2
    assert f"error: --out: {out} is a file that this command reads" in capsys.readouterr().err
    assert contents(Path()) == before


@pytest.mark.parametrize("command", [["recommend"], ["export"], ["analyse", "feature-drift"]], ids=" ".join)
@pytest.mark.parametrize("part", ["pickle", "weights", "description", "resume", "last"])
def test_the_files_of_the_run(run, capsys, command, part):
    refused(capsys, getattr(run, part), [*command, str(run.description)])


@pytest.mark.parametrize("spelling", ["other/run.json", "linked.json"])
def test_under_another_spelling(run, tmp_path, capsys, spelling):
    Path("other").symlink_to(tmp_path)
    Path("linked.json").hardlink_to("run.json")
    refused(capsys, spelling, ["recommend", "run.pth"])


def test_the_users(run, capsys):
    Path("users.txt").write_text("u1\n")
    refused(capsys, "users.txt", ["recommend", "run.pth", "--users=users.txt"])


@pytest.mark.parametrize("name", ["toy.train.inter", "toy.visual"])
def test_the_data(run, folder, tmp_path, capsys, name):
    shutil.copytree(folder / "toy", tmp_path / "data" / "toy")
    refused(capsys, f"data/toy/{name}", ["recommend", "run.pth", "--data_path=data"])


def test_the_arrays_that_are_converted(tmp_path):
    Path("shop").mkdir()
    np.save("rows.npy", np.ones((1, 2)))
    Path("rows.npy").rename("shop/shop.visual.arrow")
    Path("ids").write_text("a\n")
    with pytest.raises(ValueError, match="--modality: shop/shop.visual.arrow is a file that this command"):
        convert_npy(Path("shop/shop.visual.arrow"), Path("ids"), "visual", Path("shop"))


@pytest.mark.parametrize("option, place", [
    ("output_file", "mine.yaml"), ("output_file", "mine.hyper"), ("output_file", "result"),
    ("display_file", "mine.yaml"),
])  # fmt: skip
def test_the_settings_of_a_search(folder, capsys, option, place):
    """`--output_file=result` writes result.best.yaml too."""
    Path("mine.yaml").write_text(f"data_path: {folder}\n")
    Path("result.best.yaml").write_text("epochs: 1\n")
    Path("mine.hyper").write_text("n_layers choice [1]\n")
    before = contents(Path())
    arguments = ["--model=POWERec", "--dataset=toy", "--config_files=mine.yaml result.best.yaml"]
    assert search_main([*arguments, "--params_file=mine.hyper", f"--{option}={place}"]) == 2
    assert f"error: --{option}: " in (error := capsys.readouterr().err) and "is a file that this command reads" in error
    assert contents(Path()) == before


def test_new_names_pass(tmp_path):
    (tmp_path / "read").write_text("")
    check_is_no_input(tmp_path / "new", "--out", [tmp_path / "read", tmp_path / "missing"])
