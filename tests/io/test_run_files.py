"""Names of a run's files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from recbole_mm.io.locks import unlock
from recbole_mm.io.run_files import RunFiles, reserve, unfinished_in


@pytest.mark.parametrize("stem", ["POWERec-Nov-27", "v1.5", "a[0-9]*", "run-last"])
def test_each_file_leads_to_all(tmp_path, stem):
    files = RunFiles(tmp_path / f"{stem}.pth")
    files.description.touch()
    assert len(set(files.all)) == len(files.all)
    for file in files.all:
        assert RunFiles.of(file) == files


def test_deleting_takes_the_runs_own_files_and_no_others(tmp_path):
    kept = ["run-2.pth", "run-2-stage-one.pth", "run[1].safetensors", "run1.json", "run.txt", "other-stage-one.pth"]
    gone = [file.name for name in ("run.pth", "run-stage-one.pth") for file in RunFiles(Path(name)).all]
    for name in (*kept, *gone):
        (tmp_path / name).touch()
    for folder in ("run-stages", "run-2-stages"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "stage-one.pth").touch()
    RunFiles.of(tmp_path / "run.safetensors").delete()
    assert {file.name for file in tmp_path.iterdir()} == {*kept, "run-2-stages"}


def test_deleting_leaves_what_a_user_has_put_beside_a_stage(tmp_path):
    files = RunFiles(tmp_path / "run.pth")
    files.stages_folder.mkdir()
    names = {file.name for file in files.stage("one").all} | {"notes.txt", "mine.pth"}
    for name in names:
        (files.stages_folder / name).touch()
    files.delete()
    assert {file.name for file in files.stages_folder.iterdir()} == {"notes.txt", "mine.pth"}


@pytest.mark.parametrize("of_stage, run", [
    ("a/run-stages/stage-one.pth", "a/run.pth"),
    ("a/run-stages/mine.pth", "a/run-stages/mine-stage-two.pth"),
    ("a/run-stage-one.pth", "a/run.pth"),  # as earlier versions wrote it
    ("a/stage-one.pth", "a/stage-one-stage-two.pth"),
    ("a/-stages/stage-one.pth", "a/-stages/stage-one-stage-two.pth"),
    ("mine.pth", "mine-stage-two.pth"),
])  # fmt: skip
def test_the_run_of_an_earlier_stage(of_stage, run):
    assert RunFiles(Path(of_stage)).after_stage("one", "two") == RunFiles(Path(run))


def test_the_run_of_a_stage_in_the_folder_one_stands_in(tmp_path, monkeypatch):
    (tmp_path / "run-stages").mkdir()
    monkeypatch.chdir(tmp_path / "run-stages")
    assert RunFiles(Path("stage-one.pth")).after_stage("one", "two") == RunFiles(tmp_path / "run.pth")


def test_runs_that_did_not_end_are_found_in_any_stage(tmp_path):
    ended, killed, early = (RunFiles(tmp_path / f"{name}.pth") for name in ("ended", "killed", "early"))
    early.stages_folder.mkdir()
    for file in (ended.pickle, killed.resume, early.stage("one").last):
        file.touch()
    assert unfinished_in(tmp_path) == [killed, early.stage("one")]


def test_glob_characters_in_a_name_are_letters(tmp_path):
    for name in ("run[1].pth", "run1.pth", "run1-stage-one.pth"):
        (tmp_path / name).touch()
    RunFiles(tmp_path / "run[1].pth").delete()
    assert {file.name for file in tmp_path.iterdir()} == {"run1.pth", "run1-stage-one.pth"}


def test_a_name_is_reserved_once(tmp_path):
    held = [reserve(tmp_path / "run.pth") for _ in range(3)]
    assert [name.name for name, _ in held] == ["run.pth", "run-2.pth", "run-3.pth"]
    unlock(held[1][1])
    assert reserve(tmp_path / "run.pth")[0].name == "run-2.pth"


@pytest.mark.slow
def test_reservations_of_killed_runs_are_deleted_and_those_of_others_kept(tmp_path):
    source = f"import os; from pathlib import Path; from recbole_mm.io.run_files import reserve; \
reserve(Path({str(tmp_path / 'run.pth')!r})); os._exit(9)"
    assert subprocess.run([sys.executable, "-c", source]).returncode == 9
    assert (tmp_path / ".run.reserved").exists()
    (tmp_path / ".run.lock").touch()
    (tmp_path / ".run.lock.holder").write_text("process 1\n")
    mine, _lock = reserve(tmp_path / "other.pth")
    assert [file.name for file in tmp_path.iterdir()] == [".other.reserved"]
    assert reserve(tmp_path / "other.pth")[0] != mine


@pytest.mark.parametrize("suffix", [".json", ".pth", "-last.safetensors", "-stages/stage-one.pth"])
def test_a_name_whose_files_are_there_is_taken(tmp_path, suffix):
    (tmp_path / "run-stages").mkdir()
    (tmp_path / f"run{suffix}").touch()
    assert reserve(tmp_path / "run.pth")[0].name == "run-2.pth"
    assert not (tmp_path / ".run.reserved").exists()


def test_a_folder_that_takes_no_files_is_named(tmp_path):
    with pytest.raises(OSError, match="checkpoint_dir: .*nowhere takes no files"):
        reserve(tmp_path / "nowhere" / "run.pth")
