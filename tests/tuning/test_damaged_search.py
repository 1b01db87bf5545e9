"""The description of a search on Ray that is to be resumed, damaged."""

from __future__ import annotations

import json

import pytest

from recbole_mm.tuning.ray_search import _check_folder

DESCRIPTION = {
    "settings": {"seed": 1}, "model": "VBPR", "dataset": "toys", "ranges": [["lr", "choice", [1, 2]]],
    "algo": "random", "max_evals": 3,
}  # fmt: skip


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (json.dumps(DESCRIPTION)[:40], "is damaged \\("),
        ("[" * 100_000, "is damaged \\("),
        ("[1]", "content: input should be a valid dictionary"),
        ("{}", "settings: field required"),
        (json.dumps({**DESCRIPTION, "settings": "seed"}), "settings: input should be a valid dictionary"),
        (json.dumps({**DESCRIPTION, "max_evals": "3"}), "max_evals: input should be a valid integer"),
        ('{"model": "VBPR", "model": "BM3"}', "the key 'model' is there twice"),
    ],
)
def test_a_damaged_description_is_refused(tmp_path, content, reason):
    (tmp_path / "search.json").write_text(content)
    with pytest.raises(ValueError, match=f"^--resume: {tmp_path}/search.json .*{reason}.*; restore it, or set another"):
        _check_folder(tmp_path, DESCRIPTION, resume=True)


@pytest.mark.parametrize("resume", [True, False])
def test_a_folder_in_its_place_is_refused(tmp_path, resume):
    (tmp_path / "search.json").mkdir()
    with pytest.raises(ValueError, match=r"search\.json is a folder"):
        _check_folder(tmp_path, DESCRIPTION, resume)


@pytest.mark.parametrize("name", ["searcher-state-1.pkl", "basic-variant-state-1.json", "experiment_state-1.json"])
def test_a_state_without_a_search_is_not_opened(tmp_path, name):
    """Pickles that somebody put there: a new search would read them to keep copies of what it takes for its own."""
    (tmp_path / name).touch()
    with pytest.raises(ValueError, match="holds a state of Ray's without a search; delete it, or set --search_dir"):
        _check_folder(tmp_path, DESCRIPTION, resume=False)


def test_a_whole_one_goes_on(tmp_path):
    (tmp_path / "search.json").write_text(json.dumps(DESCRIPTION))
    _check_folder(tmp_path, DESCRIPTION, resume=True)
    with pytest.raises(ValueError, match="has model VBPR, this one BM3"):
        _check_folder(tmp_path, {**DESCRIPTION, "model": "BM3"}, resume=True)


def test_other_data_than_it_began_with_are_refused(tmp_path):
    began = {**DESCRIPTION, "files": {"toys.inter": "a", "toys.visual": "b", "toys.item": "c"}}
    (tmp_path / "search.json").write_text(json.dumps(began))
    _check_folder(tmp_path, began, resume=True)
    now = {**DESCRIPTION, "files": {"toys.inter": "a", "toys.visual": "d", "toys.user": "e"}}
    with pytest.raises(ValueError, match="^--resume: toys.item, toys.user, toys.visual changed since the search in"):
        _check_folder(tmp_path, now, resume=True)
