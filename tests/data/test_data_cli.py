"""The data commands through the command line: what they write, what they print, how they fail."""

from __future__ import annotations

import shlex
import sys

import numpy as np
import pytest

from recbole_mm.__main__ import main
from recbole_mm.data.feature_file import read_features, write_text


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "mmrec"
    folder.mkdir()
    (folder / "toy.inter").write_text("userID\titemID\tx_label\n1\t0\t0\n1\t1\t1\n1\t2\t2\n2\t0\t0\n")
    np.save(folder / "image_feat.npy", np.eye(3))
    return folder


def run(command: str) -> int:
    return main(shlex.split(command))


def test_convert_and_describe_a_data_set(source, capsys):
    assert run(f"convert mmrec {source} --name toy --out dataset_atomic") == 0
    shown = capsys.readouterr().out
    assert "splits        train 2, valid 1, test 1" in shown
    assert "recbole-mm describe dataset_atomic/toy" in shown
    assert "toy.visual.arrow" in shown
    assert "--dataset=toy --data_path=dataset_atomic" in shown.splitlines()[-1]
    assert run("describe toy") == 0
    by_name = capsys.readouterr().out
    assert run("describe dataset_atomic/toy") == 0
    assert by_name == capsys.readouterr().out
    assert run(f"convert mmrec {source} --name toy --out dataset_atomic --overwrite") == 0


@pytest.mark.parametrize("command, code", [("models", 0), ("describe nowhere", 2), ("models --help", None)])
def test_a_script_of_the_users_has_its_own_arguments_afterwards(monkeypatch, command, code):
    monkeypatch.setattr(sys, "argv", ["mine.py", "--epochs=3", "folder"])
    if code is None:
        with pytest.raises(SystemExit):
            run(command)
    else:
        assert run(command) == code
    assert sys.argv == ["mine.py", "--epochs=3", "folder"]


def test_add_modalities(source, tmp_path, capsys):
    run(f"convert mmrec {source} --name toy --out data")
    np.save("sound.npy", np.array([[1.0], [0.0]]))
    (tmp_path / "ids.txt").write_text("0\n1\n")
    options = "--ids ids.txt --modality acoustic --dataset data/toy --zero-rows missing --encoder wav2vec"
    assert run(f"convert npy sound.npy {options}") == 0
    table = read_features(tmp_path / "data" / "toy", "toy", "acoustic")
    assert (table.ids, table.encoder) == (["0"], "wav2vec")
    write_text(tmp_path / "data" / "toy" / "toy.textual", "textual", ["0"], np.ones((1, 2)))
    assert run("convert arrow --dataset data/toy --modality textual") == 0
    assert "recbole-mm describe data/toy" in capsys.readouterr().out
    assert run("describe toy --data_path data") == 0
    assert "textual: toy.textual.arrow" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("describe nothing", "'nothing' is neither a folder nor a data set in dataset_atomic nor dataset"),
        ("convert mmrec nowhere --name toy --out data", "there is no folder nowhere"),
        ("convert arrow --dataset nowhere --modality visual", "there is no folder nowhere"),
        ("convert npy f.npy --ids i.txt --modality inter --dataset .", "'inter' cannot name a modality"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(capsys, command, message):
    assert run(command) == 2
    shown = capsys.readouterr()
    assert message in shown.err and shown.err.count("\n") == 1 and shown.out == ""
