"""Nothing half-written is ever found under a final name, and what killed processes leave is cleaned."""

from __future__ import annotations

import ast
import os
import re
import resource
import subprocess
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import save_file

from recbole_mm.io.files import (
    atomic_file,
    check_writable,
    publish_folder,
    temporary_folder,
)
from recbole_mm.io.temporaries import temporary_name

ROOT = Path(__file__).resolve().parents[2]
UNWRITABLE = Path("/sys/kernel")  # not even the superuser makes files there


def killed(work: Callable[[], object]) -> int:
    """Exit code of a process that does the work: 0, 9 where it ended itself by `os._exit(9)`, 1 for an error."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class TestAtomicFile:
    def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(self, tmp_path):
        path = tmp_path / "toy.visual.arrow"
        path.write_text("old")
        with pytest.raises(OSError, match="disk"), atomic_file(path) as temporary:
            temporary.write_text("half")
            raise OSError("disk full")
        assert path.read_text() == "old"
        assert names(tmp_path) == ["toy.visual.arrow"]

    @pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
    def test_the_rights_are_those_of_any_new_file(self, tmp_path, mask):
        before = os.umask(mask)
        try:
            with atomic_file(tmp_path / "a") as temporary:
                temporary.write_text("new")
            with temporary_folder(tmp_path / "b") as temporary:
                inside = temporary.stat().st_mode & 0o777
                publish_folder(temporary, tmp_path / "b")
        finally:
            os.umask(before)
        assert (tmp_path / "a").stat().st_mode & 0o777 == 0o666 & ~mask
        assert (inside, (tmp_path / "b").stat().st_mode & 0o777) == (0o700, 0o777 & ~mask)

    def test_the_rights_are_those_where_a_library_writes_a_file_of_its_own(self, tmp_path):
        with atomic_file(tmp_path / "a") as temporary:
            save_file({"x": torch.ones(2)}, temporary)  # puts another file, 0600, in its place
        with temporary_folder(tmp_path / "b") as temporary:
            save_file({"x": torch.ones(2)}, temporary / "c")
            publish_folder(temporary, tmp_path / "b")
        (tmp_path / "any").touch()
        rights = {file.stat().st_mode for file in (tmp_path / "a", tmp_path / "b" / "c", tmp_path / "any")}
        assert len(rights) == 1

    def test_names_of_every_length_that_the_file_system_takes(self, tmp_path):
        path = tmp_path / ("é" * 127)  # 254 bytes
        with atomic_file(path) as temporary:
            temporary.write_text("new")
        assert path.read_text() == "new"

    @pytest.mark.parametrize("kind", ["folder", "pipe"])
    def test_takes_no_place_of_another_kind(self, tmp_path, kind):
        path = tmp_path / "out"
        path.mkdir() if kind == "folder" else os.mkfifo(path)
        with pytest.raises(FileExistsError, match=f"out cannot be written: it is a .*{kind}"), atomic_file(path):
            pytest.fail("the block must not run")
        with pytest.raises(FileExistsError):
            check_writable(path)
        assert names(tmp_path) == ["out"]


class TestErrors:
    @pytest.mark.parametrize("path", [UNWRITABLE / "a.arrow", Path("none/a.arrow"), Path("file/a.arrow")])
    def test_a_folder_that_takes_no_file(self, path):
        Path("file").touch()
        with pytest.raises(OSError, match=rf"^{path} cannot be written \([\w ]+\); ") as caught, atomic_file(path):
            pytest.fail("the block must not run")
        assert "\n" not in str(caught.value)

    def test_is_noticed_before_the_work(self, tmp_path):
        check_writable("made/later/a.arrow")
        assert names(tmp_path) == []
        with pytest.raises(OSError, match="made/later/a.arrow cannot be written"):
            check_writable(UNWRITABLE / "made/later/a.arrow")

    @pytest.mark.parametrize("writer", ["python", "numpy", "safetensors", "torch", "arrow", "folder"])
    def test_a_full_disk_names_the_final_file(self, tmp_path, writer):
        """A limit on a file's size stands for the full disk, in a process of its own."""
        (tmp_path / "folder").mkdir()
        path = tmp_path / "folder" / "out"
        assert killed(lambda: write_too_much(path, writer, tmp_path / "message")) == 0
        message = (tmp_path / "message").read_text()
        assert re.fullmatch(rf"{path} cannot be written \(File too large\); raise the limit .*", message)
        assert names(tmp_path / "folder") == []

    def test_errors_of_reading_pass_as_they_are(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="No such file or directory: 'input'"), atomic_file(tmp_path / "a"):
            open("input")
        with pytest.raises(ValueError, match="^line 3$"), atomic_file(tmp_path / "a"):
            raise ValueError("line 3")


def write_too_much(path: Path, writer: str, message: Path) -> None:
    values = torch.zeros(1 << 18)
    table = pa.table({"a": values.numpy()})

    def arrow(file):
        with pa.ipc.new_file(str(file), table.schema) as sink:
            sink.write_table(table)

    write = {
        "python": lambda file: file.write_bytes(bytes(1 << 20)),
        "numpy": lambda file: np.savez(file.open("wb"), values=values.numpy()),
        "safetensors": lambda file: save_file({"values": values}, file),
        "torch": lambda file: torch.save(values, file),
        "arrow": arrow,
        "folder": lambda file: (file / "a").write_bytes(bytes(1 << 20)),
    }[writer]
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    try:
        with (temporary_folder if writer == "folder" else atomic_file)(path) as temporary:
            write(temporary)
    except OSError as error:
        message.write_text(str(error))


class TestLeftovers:
    def test_those_of_a_killed_process_are_deleted_by_the_next_write(self, tmp_path):
        def die_while_writing():
            with atomic_file(tmp_path / "a") as file, temporary_folder(tmp_path / "b") as folder:
                file.write_text("half")
                (folder / "c").write_text("half")
                os._exit(9)

        assert killed(die_while_writing) == 9
        assert len(names(tmp_path)) == 2
        with atomic_file(tmp_path / "other"):
            pass
        assert names(tmp_path) == ["other"]

    def test_those_of_living_processes_and_of_other_machines_stay(self, tmp_path):
        living = temporary_name(tmp_path / "a")
        elsewhere = tmp_path / re.sub(r"\.\w+-\d+-", ".other_1-999999999-", living.name)
        users = [tmp_path / name for name in (".a.tmp", ".a.1-2-3.tmp", "a.tmp")]
        for file in (living, elsewhere, *users):
            file.touch()
        with atomic_file(tmp_path / "b"):
            pass
        assert names(tmp_path) == sorted(file.name for file in (living, elsewhere, *users, tmp_path / "b"))

    def test_a_link_among_them_is_deleted_and_not_what_it_points_at(self, tmp_path):
        users = tmp_path / "users"
        users.mkdir()
        (users / "kept").touch()
        link = dead_name(tmp_path / "a")
        link.symlink_to(users)
        with temporary_folder(tmp_path / "b"):
            pass
        assert names(tmp_path) == ["users"] and names(users) == ["kept"]


def dead_name(path: Path, kind: str = "tmp") -> Path:
    """A temporary name of a process that has ended."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    name = temporary_name(path, kind).name
    return path.with_name(name.replace(f"-{os.getpid()}-", f"-{ended.pid}-"))


def test_nobody_else_renames_or_makes_temporary_names():
    """One mechanism: what another renames, no later command cleans up."""
    for file in (ROOT / "recbole_mm").rglob("*.py"):
        if file.parent.name == "io" or file.name == "checkpoint.py":  # moves to io with the safe resume state
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr in ("replace", "rename", "renames"):
                owner = node.value.id if isinstance(node.value, ast.Name) else ""
                assert owner not in ("os", "shutil"), f"{file.name}, line {node.lineno}: use recbole_mm.io.files"
