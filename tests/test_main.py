"""`recbole-mm` and `python -m recbole_mm`: what the commands print, and how they end."""

from __future__ import annotations

import argparse
import importlib
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from recbole_mm import MODELS
from recbole_mm.__main__ import main
from recbole_mm.testing.toy import PRE_SPLIT, start, write_planted
from recbole_mm_command import COMMANDS, ENVIRONMENT
from tests import commands
from tests.commands import run

ROOT = Path(__file__).resolve().parents[1]


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("localhost", 0))
        return listening.getsockname()[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_planted(tmp_path_factory.mktemp("commands"), {"visual": 6, "textual": 4})


def train(model: str, folder: Path) -> str:
    """The checkpoint of one epoch."""
    begun = start(model, folder, **PRE_SPLIT, epochs=1, train_batch_size=64, checkpoint_dir="saved")
    trainer = begun.trainer()
    trainer.fit(begun.train_data, begun.valid_data)
    return trainer.saved_model_file


def test_models_are_listed(capsys):
    assert main(["models"]) == 0
    shown = capsys.readouterr().out
    title = "Prompt-based and weak-modality enhanced multimodal recommendation"
    assert f"POWERec (2024): {title}\n    modalities: any number" in shown
    assert "    backbones:  DRAGON, DualGNN, VBPR, GRCN, POWERec, any late-fusion model\n" in shown
    assert [name for name in MODELS if f"{name} (" not in shown] == []


def test_a_reader_that_has_seen_enough_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as out, open("err.txt", "w") as err:
        process = commands.start(["-m", "recbole_mm", "models"], out, err)
    assert process.wait() == 0
    assert "error" not in Path("err.txt").read_text()


def test_describe_prints_each_modality(folder, capsys):
    assert main(["describe", str(folder / "toy")]) == 0
    shown = capsys.readouterr().out
    assert "visual" in shown and "textual" in shown


def test_describe_of_nothing(capsys):
    assert main(["describe", "nowhere"]) == 2
    assert capsys.readouterr().err.startswith("error: 'nowhere' is neither a folder nor a data set in ")


def test_analyse_weak_modality(folder, capsys):
    assert main(["analyse", "weak-modality", train("POWERec", folder), "--out", "figures"]) == 0
    written = [f"figures/weak-modality.{form}" for form in ("png", "svg", "pdf", "csv")]
    assert capsys.readouterr().out.splitlines() == [f"wrote {file}" for file in written]
    assert all(Path(file).stat().st_size for file in written)


def test_analyse_weak_modality_of_a_model_without_modality_ratings(folder, capsys):
    file = train("LayerGCN", folder)
    assert main(["analyse", "weak-modality", file, "--out", "figures"]) == 2
    error = f"error: {file}: LayerGCN has no rating per modality; weak-modality needs a late-fusion model "
    assert capsys.readouterr().err.splitlines()[-1].startswith(error)
    assert not Path("figures").exists()


def test_analysis_of_no_checkpoint(capsys):
    assert main(["analyse", "weak-modality", "none.pth"]) == 2
    assert capsys.readouterr().err == "error: checkpoint none.pth does not exist\n"


@pytest.mark.parametrize("arguments", [["analyse"], ["describe"], ["extract"]])
def test_incomplete_commands(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert f"recbole-mm {arguments[0]}" in capsys.readouterr().err


def test_no_command(capsys):
    assert main([]) == 2
    assert capsys.readouterr().err.startswith("usage: recbole-mm COMMAND ...\n")


@pytest.mark.parametrize(
    ("name", "meant"), [("modles", "models"), ("Run", "run"), ("analyze", "analyse"), ("exprot", "export")]
)
def test_an_unknown_command_names_the_closest(name, meant, capsys):
    assert main([name, "--any=1"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: unknown command '{name}' (did you mean {meant}?); there are run, tune, models, ")


def test_a_command_like_none_lists_them(capsys):
    assert main(["xyzzy"]) == 2
    assert capsys.readouterr().err.startswith("error: unknown command 'xyzzy'; there are run, tune, ")


def test_the_help_is_that_of_the_commands_own_parsers(capsys):
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    parser = argparse.ArgumentParser()
    added = parser.add_subparsers()
    for home in {home for home, _ in COMMANDS.values()}:
        module, _, function = home.partition(":")
        if function != "main":
            getattr(importlib.import_module(module), function)(added)
    own = {action.dest: action.help for action in added._choices_actions}
    assert own == {name: help for name, (home, help) in COMMANDS.items() if not home.endswith(":main")}
    for name, (_, help) in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(help)}$", shown, re.MULTILINE)


HELP = {"module": ["-m", "recbole_mm"], "script": ["-c", "import sys, recbole_mm_command as c; sys.exit(c.main())"]}


@pytest.mark.parametrize("way", HELP)
@pytest.mark.parametrize(("arguments", "code"), [(["--help"], 0), (["modles"], 2)])
def test_help_needs_no_torch(way, arguments, code):
    """Half a second is the promise; what takes longer is importing torch, RecBole or pydantic."""
    command = [sys.executable, "-X", "importtime", *HELP[way], *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    before = os.times()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    after = os.times()
    assert done.returncode == code
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "recbole_mm_command" in imported
    assert not {"torch", "numpy", "recbole", "pydantic", "recbole_mm.startup"} & imported
    assert after.children_user + after.children_system - before.children_user - before.children_system < 0.5


PLUGIN = """
import os, sys
os.environ["SEEN"] = str({name: os.environ.get(name) for name in %r})
print(os.environ["SEEN"], "recbole_mm.startup" in sys.modules)
"""


def test_run_and_tune_are_the_two_scripts(folder):
    """With the variables set that torch reads when it loads."""
    Path("seen.py").write_text(PLUGIN % (list(ENVIRONMENT),), encoding="utf-8")
    given = {**PRE_SPLIT, "epochs": 1, "data_path": str(folder), "embedding_size": 8, "plugins": ["seen"]}
    keys = [f"--{key}={value}" for key, value in given.items()]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    for variable in ENVIRONMENT:
        environment.pop(variable, None)
    command = [sys.executable, *HELP["module"], "run", "--model=VBPR", "--dataset=toy", *keys]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"{ENVIRONMENT} True" in done.stdout
    assert "test result: {" in done.stdout
    Path("few.hyper").write_text("learning_rate choice [0.1]\n")
    done = run([*HELP["module"], "tune", "--model=VBPR", "--dataset=toy", "--params_file=few.hyper", *keys])
    assert done.returncode == 0, done.stderr
    assert "best parameters: {'learning_rate': 0.1}" in done.stdout


def test_run_in_two_processes(folder):
    given = {**PRE_SPLIT, "epochs": 1, "data_path": str(folder), "embedding_size": 8, "gpu_id": ""}
    keys = [f"--{key}={value}" for key, value in given.items()]
    two = ["--nproc=2", f"--port={free_port()}"]
    done = run([*HELP["module"], "run", "--model=VBPR", "--dataset=toy", *two, *keys])
    assert done.returncode == 0, done.stderr
    assert "test result: {" in done.stdout


def test_the_settings_of_a_model_are_listed(capsys):
    assert main(["models", "FREEDOM"]) == 0
    shown = capsys.readouterr().out
    assert "knn_k: 10    a whole number of at least 1\n    Nearest items of each item, itself included.\n" in shown
    assert "grid (FREEDOM.hyper): " in shown
    assert main(["models", "POWEDualGNN"]) == 0
    assert "weak_weight: 0.01    a number of at least 0" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "message"), [("Fredom", "did you mean FREEDOM?"), ("BPR", "BPR is RecBole's own model")]
)
def test_the_settings_of_another_model_are_not_listed(capsys, name, message):
    assert main(["models", name]) == 2
    assert message in capsys.readouterr().err
