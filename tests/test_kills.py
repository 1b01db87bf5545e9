"""Kills at random moments of real runs: each goes on to the numbers of the unbroken one, and loses at most an epoch."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from recbole_mm.testing.toy import PRE_SPLIT, write_planted
from tests.waiting import wait_until

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[1]
KILLS = int(os.environ.get("RECBOLE_MM_KILLS", "5"))  # of each model
EPOCHS = 40
MODELS = {
    "LayerGCN": {},
    "FREEDOM": {"knn_k": 4},  # trained features, edges drawn anew each epoch
    "MARGO": {"knn_k": 4, "backbone": "DRAGON"},  # two stages
    "MMSSL": {},  # a discriminator and its optimizer
    "DiffMM": {},  # a model of noise and its optimizers, and graphs drawn anew
    "PTMRec": {"knn_k": 4, "peft": "none", "backbone": "FREEDOM"},  # a trainer of its own
}

BEGINNING_AGAIN = {"BPR": {}, "ContentEASE": {"reg_weight": 10}}  # RecBole's own trainer; a solution in one step


@pytest.fixture
def data(tmp_path) -> Path:
    return write_planted(tmp_path / "data", {"visual": 12, "textual": 7})


def begin(model: str, data: Path, folder: Path, *resume: str) -> subprocess.Popen:
    """A training of `model` in a process of its own, whose files lie in `folder`."""
    folder.mkdir(exist_ok=True)
    settings = {**PRE_SPLIT, **(MODELS | BEGINNING_AGAIN)[model], "embedding_size": 16, "train_batch_size": 16,
                "epochs": EPOCHS, "topk": [5], "metrics": ["Recall"], "valid_metric": "Recall@5",
                "stopping_step": EPOCHS, "gpu_id": "", "learning_rate": 0.001, "show_progress": False,
                "data_path": str(data)}  # fmt: skip
    (folder / "mine.yaml").write_text(json.dumps(settings))
    command = [sys.executable, str(ROOT / "run_recbole_mm.py"), f"--model={model}", "--dataset=toy"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with open(folder / "output.txt", "a") as output:
        return subprocess.Popen(
            [*command, "--config_files=mine.yaml", *resume], cwd=folder, env=environment, stdout=output, stderr=output
        )


def results(folder: Path) -> list[str]:
    return re.findall(r"^test result: (.*)$", (folder / "output.txt").read_text(), re.MULTILINE)


def epochs_ended(text: str) -> list[tuple[str, int]]:
    """Stage and number of each epoch, as the terminal tells of them."""
    return [(stage, int(epoch)) for stage, epoch in re.findall(r"^(Stage \w+: )?epoch (\d+): ", text, re.MULTILINE)]


def unbroken(model: str, data: Path, folder: Path) -> tuple[str, float]:
    """What a run that is not killed ends with, and its seconds."""
    started = time.monotonic()
    assert begin(model, data, folder).wait() == 0
    seconds = time.monotonic() - started
    (expected,) = results(folder)
    return expected, seconds


@pytest.mark.parametrize("model", MODELS)
def test_a_killed_run_goes_on_to_the_same_numbers(model, data, tmp_path):
    expected, seconds = unbroken(model, data, tmp_path / "whole")
    assert len(epochs_ended((tmp_path / "whole" / "output.txt").read_text())) >= EPOCHS
    randomly = random.Random(7)
    for number in range(KILLS):
        folder = tmp_path / f"killed-{number}"
        process = begin(model, data, folder)
        wait_until(lambda folder=folder: any(folder.glob("saved/**/*.json")), process, folder / "output.txt")
        time.sleep(randomly.random() * seconds / 2)
        process.kill()
        process.wait()
        before = (folder / "output.txt").read_text()
        if results(folder):  # it had ended
            continue
        newest = max(folder.glob("saved/**/*.json"), key=lambda file: file.stat().st_mtime)
        assert begin(model, data, folder, f"--resume_from={newest}").wait() == 0
        assert results(folder) == [expected]
        after = epochs_ended((folder / "output.txt").read_text()[len(before) :])
        if after and epochs_ended(before):
            (stage, last), (next_stage, first) = epochs_ended(before)[-1], after[0]
            assert (next_stage, first) in ((stage, last), (stage, last + 1)) or (next_stage != stage and first == 0)


@pytest.mark.parametrize("model", BEGINNING_AGAIN)
def test_a_killed_run_without_a_state_begins_again(model, data, tmp_path):
    """In the same folder, whose leftovers change no number and are in nobody's way."""
    expected, seconds = unbroken(model, data, tmp_path / "whole")
    randomly, folder = random.Random(7), tmp_path / "killed"
    for _ in range(KILLS):
        process = begin(model, data, folder)
        time.sleep((0.3 + 0.7 * randomly.random()) * seconds)
        process.kill()
        process.wait()
    assert begin(model, data, folder).wait() == 0
    assert set(results(folder)) == {expected}
    assert not list(folder.rglob(".*.tmp"))
