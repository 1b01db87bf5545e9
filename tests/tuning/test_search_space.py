"""`.hyper` files: what they say, and every way they are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from recbole.trainer import HyperTuning

from recbole_mm.search_space import (
    SearchRange,
    check_searchable,
    find_hyper_file,
    number_of_settings,
    read_hyper_file,
    recbole_form,
)
from recbole_mm.setting_rules import properties_dir


def read(text: str) -> list[SearchRange]:
    Path("mine.hyper").write_text(text)
    return read_hyper_file(Path("mine.hyper"))


def test_every_kind_of_range():
    ranges = read(
        "# a comment\n"
        "n_layers choice [1, 2]\n\n"
        "weights  choice\t[[0.1,0.9],[0.5,0.5]]\n"
        "learning_rate loguniform -8,0\n"
        "dropout uniform 0,0.5\n"
        "embedding_size quniform 8,64,8\n"
    )
    assert recbole_form(ranges) == {
        "choice": {"n_layers": [1, 2], "weights": [[0.1, 0.9], [0.5, 0.5]]},
        "loguniform": {"learning_rate": [-8.0, 0.0]},
        "uniform": {"dropout": [0.0, 0.5]},
        "quniform": {"embedding_size": [8.0, 64.0, 8.0]},
    }
    assert number_of_settings(ranges[:2]) == 4
    with pytest.raises(ValueError, match="learning_rate: exhaustive search cannot try all of loguniform"):
        number_of_settings(ranges)


@pytest.mark.parametrize("file", sorted((properties_dir() / "hyper").glob("*.hyper")), ids=lambda file: file.stem)
def test_ours_are_read_as_recbole_reads_them(file):
    ranges = read_hyper_file(file)
    tuning = HyperTuning(None, params_file=str(file), algo="exhaustive")
    assert set(tuning.space) == {searched.name for searched in ranges}
    assert tuning.max_evals == number_of_settings(ranges)


@pytest.mark.parametrize("name", ["POWERec", "POWERec.hyper", "properties/hyper/POWERec.hyper"])
def test_ours_are_found_by_name(name):
    assert find_hyper_file(name) == properties_dir() / "hyper" / "POWERec.hyper"


def test_a_path_wins_over_a_name():
    Path("POWERec").write_text("n_layers choice [1]\n")
    assert find_hyper_file("POWERec") == Path("POWERec")


@pytest.mark.parametrize("name", ["POWRec", "elsewhere/POWERec.hyper"])
def test_no_such_file(name):
    with pytest.raises(FileNotFoundError, match=rf"params_file: {name} is no file, .*\(did you mean POWERec\?\)"):
        find_hyper_file(name)


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "mine.hyper names no parameter"),
        ("a choice []", r"mine.hyper, line 1: the range \[\] is empty"),
        ("a choice 3", "line 1: the range 3 is empty or no list"),
        ("a choice [1,2,1]", r"line 1: a value stands twice in \[1, 2, 1\]"),
        ("\na uniform 1,1", r"line 2: the range uniform \(1, 1\) is empty; write 'uniform low,high' with low < high"),
        ("a loguniform 0,-8", r"the range loguniform \(0, -8\) is empty"),
        ("a quniform 0,1,2", r"the range quniform \(0, 1, 2\) is empty; .* and 0 < q <= high - low"),
        ("a uniform 0,1,2", r"'\(0, 1, 2\)' is not understood; write 'uniform low,high'"),
        ("a uniform 0,1e999", "1e999 is read as inf"),
        (f"a choice [{'1+' * 200_000}1j]", r"'\[1\+1\+.*' is not understood; write .*, words in quotes"),
        (f"a choice [{'-' * 200_000}1]", "is not understood; write .*, words in quotes"),
        ("a choice [b]", "is not understood; write .*, words in quotes"),
        ("a uniform 0,b", "line 1: '0,b' is not understood"),
        ("a choice __import__('os').getpid()", "is not understood"),
        ("a normal 0,1", "line 1: 'normal' is no kind of range; .* choice, uniform, loguniform, quniform"),
        ("a", "line 1: '' is no kind of range"),
        ("a choice [1]\na choice [2]", "line 2: parameter 'a' stands there twice"),
    ],
)
def test_what_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        read(text)


@pytest.mark.parametrize(
    "name, message",
    [
        ("valid_metric", "x: valid_metric is nothing to search, as trials are compared by what it decides; set one"),
        ("eval_args", "eval_args is nothing to search, as trials are compared"),
        ("user_inter_num_interval", "user_inter_num_interval is nothing to search, as trials are compared"),
        ("plugins", "plugins is nothing to search, as it opens files or trusts them"),
        ("checkpoint_dir", "checkpoint_dir is nothing to search, as it says where files lie; set one value"),
        ("nproc", "nproc is the command's; leave it out"),
    ],
)
def test_keys_that_trials_cannot_differ_in(name, message):
    check_searchable(["learning_rate", "train_batch_size"], "x")
    with pytest.raises(ValueError, match=message):
        check_searchable(["learning_rate", name], "x")
