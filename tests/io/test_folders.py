"""Whole folders under a final name: the old or the new, whenever a process is killed."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest

from recbole_mm.io import files
from recbole_mm.io.files import atomic_file, is_folder, publish_folder, publish_new_folder, temporary_folder
from recbole_mm.io.temporaries import REPLACED
from tests.io.test_files import dead_name, killed, names


def write_old_and_new(folder: Path) -> tuple[Path, Path]:
    """A published folder, and another beside it that is to take its place."""
    target, new = folder / "toys", folder / "new"
    for place, text in ((target, "old"), (new, "new")):
        place.mkdir()
        (place / "toys.inter").write_text(text)
    return target, new


class TestPublish:
    def test_a_new_one_takes_no_place(self, tmp_path):
        target, new = write_old_and_new(tmp_path)
        with pytest.raises(FileExistsError, match="toys holds something already"):
            publish_new_folder(new, target)
        assert (target / "toys.inter").read_text() == "old"

    @pytest.mark.parametrize("exchanges", [True, False])
    def test_replaces(self, tmp_path, monkeypatch, exchanges):
        if not exchanges:
            monkeypatch.setattr(files, "exchange", lambda first, second: False)
        target, new = write_old_and_new(tmp_path)
        publish_folder(new, target)
        assert (target / "toys.inter").read_text() == "new" and names(tmp_path) == ["toys"]

    @pytest.mark.parametrize("exchanges", [True, False])
    @pytest.mark.parametrize("points_at", ["folder", "file", "nothing"])
    def test_replaces_a_link_and_not_what_it_points_at(self, tmp_path, monkeypatch, exchanges, points_at):
        if not exchanges:
            monkeypatch.setattr(files, "exchange", lambda first, second: False)
        kept, new = write_old_and_new(tmp_path)
        target = tmp_path / "link"
        target.symlink_to({"folder": kept, "file": kept / "toys.inter", "nothing": tmp_path / "none"}[points_at])
        publish_folder(new, target)
        assert (target / "toys.inter").read_text() == "new" and not target.is_symlink()
        assert (kept / "toys.inter").read_text() == "old" and names(tmp_path) == ["link", "toys"]

    @pytest.mark.parametrize("exchanges", [True, False])
    def test_killed_at_any_point_the_old_or_the_new_is_there(self, tmp_path, exchanges):
        """Before or after each call that changes a name; the next command finds one of them whole, and no leftover."""
        ends = set()
        for call, after in itertools.product(range(1, 7), (False, True)):
            target = tmp_path / f"{call}-{after}" / "toys"
            target.mkdir(parents=True)
            (target / "toys.inter").write_text("old")
            code = killed(lambda: die_while_publishing(target, exchanges, call, after))  # noqa: B023
            there = target.exists()
            assert is_folder(target)
            found = (target / "toys.inter").read_text()
            assert found == "new" if code == 0 else code == 9 and found in ("old", "new")
            with atomic_file(target.parent / "next"):
                pass
            assert names(target.parent) == ["next", "toys"] and names(target) == ["toys.inter"]
            ends.add((code, there, found))
        gap = set() if exchanges else {(9, False, "old")}
        assert ends == {(0, True, "new"), (9, True, "old"), (9, True, "new")} | gap

    def test_a_folder_given_its_name_back_never_takes_the_place_of_a_newer(self, tmp_path):
        target, new = write_old_and_new(tmp_path)
        old = dead_name(target, REPLACED)
        target.rename(old)
        new.rename(target)
        with temporary_folder(tmp_path / "next"):
            pass
        assert names(tmp_path) == ["toys"] and (target / "toys.inter").read_text() == "new"


def die_while_publishing(target: Path, exchanges: bool, last: int, after: bool) -> None:
    """Publish, and die before or after one of the calls that change a name."""
    calls = itertools.count(1)

    def killing(function):
        def call(*arguments):
            is_last = next(calls) == last
            if is_last and not after:
                os._exit(9)
            result = function(*arguments)
            if is_last:
                os._exit(9)
            return result

        return call

    os.rename = killing(os.rename)
    files.delete = killing(files.delete)
    files.exchange = killing(files.exchange if exchanges else lambda first, second: False)
    with temporary_folder(target) as temporary:
        (temporary / "toys.inter").write_text("new")
        publish_folder(temporary, target)
