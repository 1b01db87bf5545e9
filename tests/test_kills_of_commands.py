"""Kills at random moments of extractions, searches and experiments: the same files as of the unbroken command."""

from __future__ import annotations

import csv
import json
import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest

from recbole_mm.data.feature_file import read_features
from recbole_mm.experiment.tables import read_store
from recbole_mm.testing.toy import PRE_SPLIT, QUIET, write_planted
from tests.extraction.shop import write_shop
from tests.kills import finish, is_there, kill_at_random, output, start, wait_until
from tests.tiny_clip import write_dual_clip

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("ray")]

KILLS = int(os.environ.get("RECBOLE_MM_KILLS", "5"))  # of each command
N_PICTURES = 3000
SETTINGS = {
    **PRE_SPLIT, **QUIET, "epochs": 40, "stopping_step": 40, "embedding_size": 8, "train_batch_size": 32,
    "topk": [5], "metrics": ["Recall", "NDCG"], "valid_metric": "NDCG@5", "learning_rate": 0.01,
}  # fmt: skip


def seconds_of(command: list[str], folder: Path, is_under_way: Callable[[], bool]) -> float:
    """How long the whole command takes once it is under way."""
    process = start(command, folder)
    wait_until(is_under_way, process, folder)
    started = time.monotonic()
    assert process.wait() == 0, output(folder)
    return time.monotonic() - started


@pytest.mark.parametrize("content", ["--images images", "--fields title,plot"])
def test_a_killed_extraction_goes_on_to_the_same_file(content, tmp_path):
    clip = write_dual_clip(tmp_path / "clip")
    randomly, n_killed = random.Random(3), 0
    command = ["-m", "recbole_mm", "extract", "--dataset=shop", "--modality=m", *content.split(), f"--encoder={clip}",
               "--batch-size=4"]  # fmt: skip

    def shop(name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        write_shop(folder, N_PICTURES)
        items = "".join(f"i{number}\tI{number}\tplot {number}\n" for number in range(N_PICTURES))
        (folder / "shop/shop.item").write_text(f"item_id:token\ttitle:token_seq\tplot:token_seq\n{items}")
        return folder

    def begun(folder: Path) -> Callable[[], bool]:
        return lambda: is_there(folder, "shop/.shop.m.*/*.npz")

    whole = shop("whole")
    seconds = seconds_of(command, whole, begun(whole))
    expected = read_features(whole / "shop", "shop", "m")
    for number in range(KILLS):
        folder = shop(f"killed-{number}")
        n_killed += kill_at_random(command, folder, begun(folder), seconds, randomly)
        finished = len(list(folder.glob("shop/.shop.m.*/*.npz")))
        is_finished = (folder / "shop/shop.m.arrow").exists()
        if not is_finished:
            finish(command, folder)
            assert not finished or f"{4 * finished} of them have been finished by an earlier run" in output(folder)
        assert (folder / "shop/shop.m.arrow").read_bytes() == (whole / "shop/shop.m.arrow").read_bytes()
        assert read_features(folder / "shop", "shop", "m").ids == expected.ids
        assert is_finished or not list((folder / "shop").glob(".shop.m.e*"))
    assert n_killed > KILLS / 3  # the others had ended


@pytest.fixture
def data(tmp_path) -> Path:
    folder = write_planted(tmp_path / "data", {"visual": 6, "textual": 4})
    (folder / "toy.yaml").write_text(json.dumps({**SETTINGS, "data_path": str(folder)}))
    (folder / "toy.hyper").write_text("prompt_num choice [1,2]\nweak_weight choice [0,0.5]\n")
    return folder


def search_command(data: Path, *more: str) -> list[str]:
    files = [f"--config_files={data / 'toy.yaml'}", f"--params_file={data / 'toy.hyper'}"]
    return ["-m", "recbole_mm", "tune", "--model=POWERec", "--dataset=toy", *files, *more]


def trials(folder: Path) -> dict[tuple[str, str], tuple[str, ...]]:
    """Everything about each trial that must not depend on kills."""
    with open(folder / "search/results.csv", newline="") as source:
        rows = list(csv.DictReader(source))
    return {
        (row["prompt_num"], row["weak_weight"]): (row["status"], *(row[key] for key in sorted(row) if "@" in key))
        for row in rows
    }


def last_lines(folder: Path) -> list[str]:
    """The winner, its validation and its test."""
    kinds = ("best parameters", "valid result", "test result")
    return [line for line in output(folder).splitlines() if line.startswith(kinds)][-3:]


def test_a_killed_ray_search_goes_on_to_the_same_trials(data, tmp_path):
    command = search_command(data, "--tool=Ray", "--search_dir=search", "--asha_grace=0", "--concurrent_trials=2")

    def begun(folder: Path) -> Callable[[], bool]:
        return lambda: is_there(folder, "search/trial-*/checkpoint_*")

    whole = tmp_path / "whole"
    seconds = seconds_of(command, whole, begun(whole))
    randomly, n_killed = random.Random(4), 0
    for number in range(KILLS):
        folder = tmp_path / f"killed-{number}"
        is_killed = kill_at_random(command, folder, begun(folder), seconds, randomly)
        n_killed += is_killed
        if is_killed:
            finish([*command, "--resume"], folder)
        assert trials(folder) == trials(whole)
        assert last_lines(folder) == last_lines(whole)
    assert n_killed > KILLS / 3  # the others had ended


def test_a_ray_search_outlives_its_killed_trials(data, tmp_path):
    """A trial whose process dies goes on from its last checkpoint, in another."""
    command = search_command(data, "--tool=Ray", "--search_dir=search", "--asha_grace=0", "--concurrent_trials=2")
    finish(command, tmp_path / "whole")
    randomly = random.Random(6)
    for number in range(KILLS):
        folder = tmp_path / f"killed-{number}"
        process = start(command, folder)
        wait_until(lambda folder=folder: is_there(folder, "search/trial-*/checkpoint_*"), process, folder)
        time.sleep(randomly.random())
        trained = [child for child in psutil.Process(process.pid).children(recursive=True) if is_trial(child)]
        assert trained, output(folder)
        randomly.choice(trained).kill()
        assert process.wait() == 0, output(folder)
        assert "SIGKILL" in output(folder) or "died" in output(folder)
        assert trials(folder) == trials(tmp_path / "whole")
        assert last_lines(folder) == last_lines(tmp_path / "whole")


def is_trial(process: psutil.Process) -> bool:
    """Whether Ray trains a trial in it, which it puts into the process's title."""
    try:
        title = " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return False
    return title.startswith("ray::ImplicitFunc")


def test_a_killed_hyperopt_search_goes_on_to_the_same_trials(data, tmp_path):
    """Its finished trials are told to hyperopt again, and what the killed one left is gone on with."""
    command = search_command(data, "--tool=Hyperopt")

    def begun(folder: Path) -> Callable[[], bool]:
        return lambda: is_there(folder, "saved/*.safetensors")

    whole = tmp_path / "whole"
    seconds = seconds_of(command, whole, begun(whole))
    randomly, n_killed = random.Random(5), 0
    for number in range(KILLS):
        folder = tmp_path / f"killed-{number}"
        is_killed = kill_at_random(command, folder, begun(folder), seconds, randomly)
        n_killed += is_killed
        if is_killed:
            finish([*command, "--resume"], folder)
        assert last_lines(folder) == last_lines(whole)
        assert len([*folder.glob("saved/*.json")]) == 1  # the winner's alone
        assert (folder / "hyper_example.result").read_text() == (whole / "hyper_example.result").read_text()
    assert n_killed > KILLS / 3  # the others had ended


PLAN = """
data: [{toy: {data_path: '%s', benchmark_filename: [train, valid, test], load_col: {inter: [user_id, item_id]}}}]
seeds: 2
models:
- LightGCN: {n_layers: [1, 2]}
- FREEDOM: {knn_k: 4, n_layers: [1, 2]}
- MARGO: {backbone: VBPR, calibration_weight: [0, 1]}
settings: {epochs: 40, stopping_step: 40, embedding_size: 8, train_batch_size: 32, learning_rate: 0.01}
topk: [5]
search: {budget: 2, metric: NDCG@5}
"""


def numbers(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    tables = read_store(folder / "out")
    runs = tables.runs.set_index("run").sort_index()
    names = [name for name in runs if name.startswith(("test_", "valid_", "beyond_"))]
    users = tables.per_user.sort_values(["run", "user"]).reset_index(drop=True)
    return runs[[*names, "seed", "best_epoch", "epochs", "settings"]], users


def test_a_killed_experiment_goes_on_to_the_same_store(data, tmp_path):
    plan = tmp_path / "plan.yaml"
    plan.write_text(PLAN % data)
    command = ["-m", "recbole_mm", "experiment", str(plan), "--out=out", "--jobs=2"]

    def begun(folder: Path) -> Callable[[], bool]:
        return lambda: is_there(folder, "out/work/**/*.resume.safetensors")

    whole = tmp_path / "whole"
    seconds = seconds_of(command, whole, begun(whole))
    randomly, n_killed = random.Random(8), 0
    for number in range(KILLS):
        folder = tmp_path / f"killed-{number}"
        is_killed = kill_at_random(command, folder, begun(folder), seconds, randomly)
        n_killed += is_killed
        if is_killed:
            finish([*command, "--resume"], folder)
        for table, expected in zip(numbers(folder), numbers(whole), strict=True):
            pd.testing.assert_frame_equal(table, expected)
        assert np.isfinite(numbers(folder)[0]["test_ndcg@5"]).all()
    assert n_killed > KILLS / 3  # the others had ended
