"""State files that a kill cut off."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from types import SimpleNamespace

import pytest
from ray import tune

if not hasattr(tune, "RunConfig"):
    pytest.skip("this ray is older than --tool=Ray asks for", allow_module_level=True)

from recbole_mm.tuning.ray_state import KeepState, put_back_state  # noqa: E402

FILES = {
    "experiment_state-2026.json": json.dumps({"trial_data": [1, 2]}).encode(),
    "basic-variant-state-2026.json": pickle.dumps({"drawn": [1, 2]}),  # whatever Ray calls it
    "searcher-state-2026.pkl": pickle.dumps({"drawn": [1, 2]}),
}


@pytest.fixture
def folder() -> Path:
    """A folder of a search, with copies of its state."""
    folder = Path("search").absolute()
    folder.mkdir()
    (folder / "tuner.pkl").write_bytes(pickle.dumps({}))
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    KeepState(folder).on_step_end(1, [])
    return folder


@pytest.mark.parametrize("length", [0, 9])
def test_a_file_that_was_cut_off_is_put_back(folder, length):
    for name, content in FILES.items():
        (folder / name).write_bytes(content[:length])
    assert put_back_state(folder)
    assert {name: (folder / name).read_bytes() for name in FILES} == FILES


def test_a_file_that_is_being_written_does_not_replace_the_copy(folder):
    keep = KeepState(folder)
    for name, content in FILES.items():
        (folder / name).write_bytes(content[:9])
    keep.on_step_end(2, [])
    assert put_back_state(folder)
    assert {name: (folder / name).read_bytes() for name in FILES} == FILES


def test_whole_files_stay(folder):
    newer = json.dumps({"trial_data": [1, 2, 3]}).encode()
    (folder / "experiment_state-2026.json").write_bytes(newer)
    assert put_back_state(folder)
    assert (folder / "experiment_state-2026.json").read_bytes() == newer


def test_without_a_copy_there_is_no_state():
    folder = Path("search").absolute()
    folder.mkdir()
    (folder / "tuner.pkl").write_bytes(pickle.dumps({}))
    (folder / "experiment_state-2026.json").write_bytes(b"")
    assert not put_back_state(folder)


def test_checkpoints_go_when_no_state_on_disk_can_name_them(folder):
    """Each state on disk may be of a moment before the last: two more stay than the one it names."""
    keep, there = KeepState(folder), []
    for number in range(5):
        checkpoint = folder / "trial-1" / f"checkpoint_{number:06d}"
        checkpoint.mkdir(parents=True)
        state = json.dumps({"trial_data": [number]}).encode()
        (folder / "experiment_state-2026.json").write_bytes(state)
        keep.on_step_end(number, [SimpleNamespace(checkpoint=SimpleNamespace(path=str(checkpoint)))])
        there.append(sorted(int(path.name[-1]) for path in (folder / "trial-1").iterdir()))
    assert there == [[0], [0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 4]]
