"""Ctrl-C and killed processes: real signals to real commands end in one line that says how to go on."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from recbole_mm.testing.toy import PRE_SPLIT, write_planted
from tests.commands import Command, start
from tests.waiting import LIMIT, wait_for_end, wait_until

ROOT = Path(__file__).resolve().parents[1]
ENDLESS = {**PRE_SPLIT, "epochs": 10**6, "stopping_step": 10**6, "embedding_size": 8, "train_batch_size": 64,
           "topk": [5], "metrics": ["NDCG"], "valid_metric": "NDCG@5", "gpu_id": "",
           "show_progress": False}  # fmt: skip
OUTPUT = (Path("out.txt"), Path("err.txt"))


@pytest.fixture
def settings(tmp_path) -> str:
    """The settings file of a training without end, in the working folder."""
    write_planted(tmp_path / "data", {"visual": 6, "textual": 4})
    Path("endless.yaml").write_text(json.dumps({**ENDLESS, "data_path": "data"}))
    Path("few.hyper").write_text("learning_rate choice [0.1,0.01]\n")
    return "--config_files=endless.yaml"


def started(*command: str) -> Command:
    """The command as a process at the head of a group of its own, as a shell starts it."""
    with open("out.txt", "w") as out, open("err.txt", "w") as err:
        return start([*command], out, err, new_session=True, PYTHONWARNINGS="ignore")


def started_by_python(*command: str) -> subprocess.Popen:
    """The same, which imports everything first."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1"}
    arguments = [sys.executable, *command]
    with open("out.txt", "w") as out, open("err.txt", "w") as err:
        return subprocess.Popen(arguments, env=environment, stdout=out, stderr=err, start_new_session=True)


def last_line(process: subprocess.Popen | Command, code: int) -> str:
    """The last line on standard error of a command that ends with this code, and without a traceback."""
    assert wait_for_end(process, *OUTPUT) == code
    shown = Path("err.txt").read_text()
    assert "Traceback" not in shown
    return shown.splitlines()[-1]


def train(model: str, *options: str) -> Command:
    return started(str(ROOT / "run_recbole_mm.py"), f"--model={model}", "--dataset=toy", *options)


def has_saved() -> bool:
    return "\nepoch 1: " in Path("err.txt").read_text()  # the first epoch is saved then


def trained_by(process: Command) -> list[psutil.Process]:
    children = psutil.Process(process.pid).children()
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("localhost", 0))
        return listening.getsockname()[1]


@pytest.mark.parametrize(
    "model, advice", [("LayerGCN", "go on with --resume_from="), ("BPR", "the best epoch so far is in ")]
)
def test_a_training_that_is_interrupted(settings, model, advice):
    process = train(model, settings)
    wait_until(has_saved, process, *OUTPUT)
    os.killpg(process.pid, signal.SIGINT)
    line = last_line(process, 130)
    assert line.startswith(f"interrupted; {advice}saved/{model}-")
    assert Path(line.removeprefix(f"interrupted; {advice}")).is_file()


@pytest.mark.parametrize("to_all", [True, False])
def test_several_processes_that_are_interrupted(settings, to_all):
    process = train("LayerGCN", settings, "--nproc=2", f"--port={free_port()}")
    wait_until(has_saved, process, *OUTPUT)
    children = trained_by(process)
    (os.killpg if to_all else os.kill)(process.pid, signal.SIGINT)
    assert last_line(process, 130).startswith("interrupted; go on with --resume_from=saved/LayerGCN-")
    assert not any(child.is_running() for child in children)


def test_several_processes_that_are_interrupted_while_they_import(settings):
    process = train("LayerGCN", settings, "--nproc=2", f"--port={free_port()}")
    wait_until(lambda: len(trained_by(process)) == 2, process, *OUTPUT)
    children = trained_by(process)
    os.killpg(process.pid, signal.SIGINT)
    assert last_line(process, 130) == "interrupted; training had not begun"
    assert not any(child.is_running() for child in children)


@pytest.mark.parametrize("begun", [False, True])
def test_several_processes_end_with_a_run_that_is_killed(settings, begun):
    process = train("LayerGCN", settings, "--nproc=2", f"--port={free_port()}")
    wait_until(has_saved if begun else lambda: len(trained_by(process)) == 2, process, *OUTPUT)
    children = trained_by(process)
    process.kill()
    assert wait_for_end(process, *OUTPUT) == -signal.SIGKILL
    _, left = psutil.wait_procs(children, timeout=LIMIT)
    assert not left
    assert "Traceback" not in Path("err.txt").read_text()


def test_one_of_several_processes_is_killed(settings):
    process = train("LayerGCN", settings, "--nproc=2", f"--port={free_port()}")
    wait_until(has_saved, process, *OUTPUT)
    children = trained_by(process)
    children[1].kill()
    line = last_line(process, 2)
    assert line.startswith("error: one of the processes of the run ended by SIGKILL, as where memory runs out; go on ")
    assert Path(line.rpartition("--resume_from=")[2]).is_file()
    assert not any(child.is_running() for child in children)


def test_a_search_that_is_interrupted(settings):
    options = ["--params_file=few.hyper", "--model=BPR", "--dataset=toy", settings, "--epochs=3"]
    process = started(str(ROOT / "run_hyper_mm.py"), *options, "--tool=Hyperopt", "--stopping_step=2")
    wait_until(lambda: "current best valid score" in Path("out.txt").read_text(), process, *OUTPUT)
    os.killpg(process.pid, signal.SIGINT)
    line = last_line(process, 130)
    assert line.startswith("interrupted; the trials so far are in hyper_example.result; go on with")
    assert "learning_rate" in Path("hyper_example.result").read_text()


def test_a_ray_search_that_is_interrupted_goes_on(settings):
    options = ["--params_file=few.hyper", "--model=BPR", "--dataset=toy", settings, "--concurrent_trials=1"]
    process = started(str(ROOT / "run_hyper_mm.py"), *options, "--tool=Ray")
    folder = Path("saved/search/BPR-toy")
    wait_until(lambda: any(folder.glob("trial-*/checkpoint_*")), process, *OUTPUT)
    os.killpg(process.pid, signal.SIGINT)
    assert last_line(process, 130) == "interrupted; go on with the same command and --resume"
    assert (folder / "search.json").is_file() and not (folder / "best.yaml").exists()


@pytest.mark.parametrize("seconds", [0.3, 1.0])
@pytest.mark.parametrize("command", [[str(ROOT / "run_recbole_mm.py")], ["-m", "recbole_mm", "models"]])
def test_an_interrupt_before_anything_has_begun(command, seconds):
    process = started_by_python(*command)
    time.sleep(seconds)  # Python is there, torch not yet
    os.killpg(process.pid, signal.SIGINT)
    assert last_line(process, 130) == "interrupted; nothing had begun"


@pytest.mark.parametrize(
    "option, message",
    [
        ("--nproc=0", "--nproc: 0 must be at least 1"),
        ("--nproc=-2", "--nproc: -2 must be at least 1"),
        ("--nproc=5000", f"--nproc: 5000 must be at least 1, and at most {8 * os.cpu_count()}"),
        ("--port=0", "--port: '0' is no port; "),
        ("--port=65536", "--port: '65536' is no port; "),
        ("--port=http", "--port: 'http' is no port; "),
        ("--group_offset=-1", "--group_offset: -1 must not be negative"),
        ("--world_size=0", "--world_size: 0 is less than --nproc 1"),
        ("--world_size=-2", "--world_size: -2 is less than --nproc 1"),
    ],
)
def test_processes_that_cannot_be(option, message, capsys):
    from recbole_mm.quick_start import main

    assert main(["--model=BPR", "--dataset=toy", option]) == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")
