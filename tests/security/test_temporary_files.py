"""Links planted where a file will be written: what they point at stays as it was."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest

from recbole_mm.data.feature_file import write_arrow, write_text
from recbole_mm.graph.cache import GraphCache
from recbole_mm.io import temporaries
from recbole_mm.io.files import atomic_file, temporary_folder
from recbole_mm.io.locks import only_holder, waiting_lock


@pytest.fixture
def victim(tmp_path) -> Path:
    (tmp_path / "elsewhere").mkdir()
    file = tmp_path / "elsewhere" / "victim"
    file.write_text("precious")
    return file


def write(kind: str, path: Path) -> None:
    if kind == "arrow":
        write_arrow(path, ["a"], np.ones((1, 2)))
    elif kind == "text":
        write_text(path, "visual", ["a"], np.ones((1, 2)))
    else:
        with atomic_file(path) as temporary:
            temporary.write_text("new")


@pytest.mark.parametrize("kind", ["arrow", "text", "any"])
def test_a_link_at_the_final_name_is_replaced(tmp_path, victim, kind):
    path = tmp_path / "shop.visual"
    path.symlink_to(victim)
    write(kind, path)
    assert victim.read_text() == "precious"
    assert not path.is_symlink() and path.stat().st_size > 0


def test_temporary_names_cannot_be_guessed(tmp_path):
    names = set()
    for _ in range(100):
        with atomic_file(tmp_path / "a") as temporary:
            names.add(temporary.name)
        with temporary_folder(tmp_path / "b") as temporary:
            names.add(temporary.name)
    assert len(names) == 200
    assert all(re.fullmatch(rf"\.[ab]\.\w+-{os.getpid()}-[0-9a-f]{{16}}\.tmp", name) for name in names)


def test_a_file_is_made_before_its_name_is_handed_out_and_never_through_a_link(tmp_path, victim, monkeypatch):
    """Even where the name were guessed: a link that stands there is an error, and is not followed."""
    with atomic_file(tmp_path / "a") as temporary:
        assert temporary.is_file() and temporary.stat().st_size == 0
    monkeypatch.setattr(temporaries.secrets, "token_hex", lambda n: "0" * 2 * n)
    guessed = temporaries.temporary_name(tmp_path / "a")
    for points_at in (victim, tmp_path / "elsewhere" / "new"):
        guessed.symlink_to(points_at)
        with pytest.raises(FileExistsError), atomic_file(tmp_path / "a"):
            pytest.fail("the block must not run")
        with pytest.raises(FileExistsError), temporary_folder(tmp_path / "a"):
            pytest.fail("the block must not run")
        guessed.unlink()
    assert victim.read_text() == "precious" and [file.name for file in victim.parent.iterdir()] == ["victim"]


@pytest.mark.parametrize("lock", [waiting_lock, lambda path: only_holder(path, "work")])
@pytest.mark.parametrize("exists", [True, False])
def test_a_lock_is_no_link(tmp_path, victim, lock, exists):
    """The name of a lock must be known, so that its file is neither followed nor emptied."""
    path = tmp_path / ".a.lock"
    path.symlink_to(victim if exists else victim.with_name("new"))
    with pytest.raises(OSError, match=".a.lock cannot be written"), lock(path):
        pytest.fail("the block must not run")
    assert victim.read_text() == "precious" and not victim.with_name("new").exists()


def test_links_for_the_old_names_of_a_graph_are_of_no_use(tmp_path, victim):
    def build():
        for process in (os.getpid(),):
            (tmp_path / f".{stem}.{process}.tmp.npz").symlink_to(victim)
        return {"edges": np.arange(3)}

    stem = "knn-0"
    cache = GraphCache(tmp_path)
    cache.get("knn", [np.ones(2)], {}, lambda: {"edges": np.arange(3)}, dict)
    stem = next(tmp_path.glob("knn-*.npz")).stem
    next(tmp_path.glob("knn-*.npz")).unlink()
    cache.get("knn", [np.ones(2)], {}, build, dict)
    assert victim.read_text() == "precious"
