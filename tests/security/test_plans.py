"""Plans of experiments: what they name is neither imported nor unpickled, and a store notices what changed."""

from __future__ import annotations

import itertools
import json
import os
import re
from pathlib import Path

import pytest

from recbole_mm.__main__ import main
from recbole_mm.experiment.identity import row_name, run_name
from recbole_mm.experiment.store import Store
from recbole_mm.testing.toy import write_planted

EVIL = "open('PWNED', 'w').close()"


@pytest.fixture
def data(tmp_path) -> Path:
    Path("evilmod.py").write_text(EVIL)
    return write_planted(tmp_path / "data", {"visual": 6, "textual": 4})


@pytest.mark.parametrize(
    "own, message",
    [
        ("settings: {plugins: [evilmod]}", "plan.yaml: settings: plugins is nothing that a file can set; give"),
        ("models: [{FREEDOM: {plugins: [evilmod]}}]", "entry 1 .FREEDOM.: plugins is nothing that a file can set"),
        ("models: [{best: {model: FREEDOM, plugins: [evilmod]}}]", "plugins is nothing that a file can set"),
        ("sweep: {FREEDOM: {plugins: [[evilmod]]}}", "sweep: FREEDOM: plugins is nothing that a file can set"),
        ("settings: {trust_pickle: True}", "settings: trust_pickle is nothing that a file can set; that is yours"),
        ("models: [{NeuMF: {trust_plugins: True}}]", "trust_plugins is nothing that a file can set"),
        ("models: [{NeuMF: {mf_pretrain_path: x.pth}}]", "mf_pretrain_path is nothing that a file can set; an"),
        ("settings: {nproc: 2}", "settings: nproc is nothing that a file can set; an experiment has its own"),
        ("models: [{NeuMF: {config_files: a.yaml}}]", "config_files is nothing that a file can set; an experiment"),
        ("settings: {dataset_save_path: x.pth}", "dataset_save_path is nothing that a file can set"),
        ("settings: {dataloaders_save_path: x.pth}", "dataloaders_save_path is nothing that a file can set"),
    ],
)
@pytest.mark.parametrize("command", ["experiment", "audit"])
def test_a_plan_opens_nothing(data, own, message, command, capsys):
    plan = {"data": f"[{{toy: {{data_path: '{data}'}}}}]", "models": "[LightGCN]"}
    key, _, value = own.partition(": ")
    Path("plan.yaml").write_text("".join(f"{name}: {text}\n" for name, text in {**plan, key: value}.items()))
    assert main([command, "plan.yaml", "--out=out"]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert re.search(message, line), line
    assert not Path("PWNED").exists() and not Path("out").exists()


def test_nor_do_the_settings_of_a_data_set_in_a_plan(data, capsys):
    Path("plan.yaml").write_text(f"data: [{{toy: {{data_path: '{data}', plugins: [evilmod]}}}}]\nmodels: [LightGCN]\n")
    assert main(["experiment", "plan.yaml", "--out=out"]) == 2
    assert "toy: plugins is nothing that a file can set" in capsys.readouterr().err
    assert not Path("PWNED").exists()


def test_a_store_notices_data_that_changed(data):
    store = Store(Path("out"))
    store.check_data("toy", data / "toy")
    Store(Path("out")).check_data("toy", data / "toy")
    lines = (data / "toy/toy.train.inter").read_text().splitlines()
    (data / "toy/toy.train.inter").write_text("\n".join(lines[:-1]) + "\n")
    (data / "toy/toy.audio").write_text("new")
    with pytest.raises(ValueError, match=r"toy.audio, toy.train.inter changed since the runs in out"):
        store.check_data("toy", data / "toy")
    store.check_data("other", data / "toy")  # a data set of its own


@pytest.mark.parametrize(
    "file, content, message",
    [
        ("store.json", "[]", "store.json is damaged .it holds a list."),
        ("store.json", "{", "store.json is damaged"),
        ("runs/x.json", '{"a": 1}', "x.json is damaged .record: field required.; restore it, or delete it to run"),
        ("runs/x.json", '{"record": [], "curves": []}', "x.json is damaged .record"),
        ("data_files.json", "3", "data_files.json is damaged .content: "),
        ("trials/x.json", "{}", "x.json is damaged .content: "),
    ],
)
def test_a_damaged_store_is_one_line(data, file, content, message):
    store = Store(Path("out"))
    (store.folder / file).parent.mkdir(exist_ok=True)
    (store.folder / file).write_text(content)

    def use() -> None:
        again = Store(Path("out"))
        again.check_data("toy", data / "toy")
        again.write_tables()

    with pytest.raises(ValueError, match=message):
        use()


@pytest.mark.parametrize(
    ("kind", "name"),
    [*itertools.product(["link", "pipe"], ["toy.visual", "toy.item", "toy.yaml", "toy.extra"]),
     ("folder", "toy.visual"), ("folder", "toy.item")],
)
def test_a_name_of_the_data_set_that_is_no_file_is_not_passed_over(data, kind, name, capsys):
    file = data / "toy" / name
    file.unlink(missing_ok=True)
    make = {"link": lambda: file.symlink_to("/nonexistent"), "pipe": lambda: os.mkfifo(file), "folder": file.mkdir}
    make[kind]()
    what = {"link": "leads nowhere", "pipe": "is a pipe", "folder": "is a folder"}[kind]
    command = ["run", "--model=FREEDOM", "--dataset=toy", f"--data_path={data}", "--epochs=1"]
    assert main(command) == 2
    assert f"{file} {what}, so it cannot be read; restore the file" in capsys.readouterr().err
    assert main(["describe", str(data / "toy")]) == 2
    assert what in capsys.readouterr().err


def test_a_forged_record_changes_nothing_else(data):
    """What a run's file says beyond what is known is left out."""
    store = Store(Path("out"))
    row = row_name("toy", "m", {})
    record = {"run": run_name(row, 1), "row": row, "dataset": "toy", "label": "l", "model": "m", "seed": 1,
              "settings": "{}", "error": "", "unknown": "__import__('os')"}  # fmt: skip
    (store.folder / f"runs/{record['run']}.json").write_text(json.dumps({"record": record, "curves": []}))
    (found,) = store.records()
    assert found.label == "l" and not hasattr(found, "unknown")
