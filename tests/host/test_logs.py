"""Folders of log and TensorBoard files, and what happens where they cannot be written."""

from __future__ import annotations

import hashlib
import logging
from contextlib import contextmanager
from pathlib import Path

import pytest
from recbole.config import Config
from recbole.quick_start import run_recbole
from recbole.utils import init_logger

from recbole_mm.host.logs import LogFile, close_log
from recbole_mm.testing.toy import PRE_SPLIT, QUIET, start, write_planted

SETTINGS = {**PRE_SPLIT, "topk": [5], "metrics": ["NDCG"], "valid_metric": "NDCG@5", "epochs": 1,
            "train_batch_size": 64, "embedding_size": 8}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_planted(tmp_path_factory.mktemp("logged"), {"visual": 6, "textual": 4})


@contextmanager
def without_handlers():
    """The root logger without pytest's handlers: RecBole opens a log file only where there is none."""
    root = logging.getLogger()
    kept, root.handlers[:] = root.handlers[:], []
    try:
        yield root
    finally:
        close_log()
        root.handlers[:] = kept


@pytest.mark.parametrize("model", ["LayerGCN", "BPR"])
def test_everything_goes_where_the_keys_say(folder, model):
    places = {"checkpoint_dir": "a", "log_dir": "b/c", "tensorboard_dir": "d", "data_path": str(folder)}
    with without_handlers():
        run_recbole(model, "toy", config_dict={**QUIET, **SETTINGS, **places, "state": "INFO"})
    assert sorted(file.name for file in Path().iterdir()) == ["a", "b", "d"]
    (log,) = Path("b/c", model).glob("*.log")
    assert "epoch 0 training" in log.read_text()
    (events,) = Path("d").iterdir()
    assert events.name == log.stem


def test_each_run_of_a_process_has_a_log_of_its_own(folder):
    with without_handlers() as root:
        for seed in (1, 2):
            settings = {**QUIET, **SETTINGS, "seed": seed, "data_path": str(folder), "state": "INFO"}
            run_recbole("BPR", "toy", config_dict=settings)
        assert len(root.handlers) == 2
    logs = list(Path("log/BPR").glob("*.log"))
    assert len(logs) == 2
    assert all(log.read_text().count("epoch 0 training") == 1 for log in logs)


def test_runs_of_one_second_share_no_log_and_no_folder(folder, monkeypatch):
    monkeypatch.setattr("recbole.utils.logger.get_local_time", lambda: "now")
    for _ in range(3):
        with without_handlers():
            run_recbole("BPR", "toy", config_dict={**QUIET, **SETTINGS, "data_path": str(folder), "state": "INFO"})
    logs, folders = list(Path("log/BPR").iterdir()), list(Path("log_tensorboard").iterdir())
    assert len(logs) == len(folders) == 3
    assert {log.stem for log in logs} == {events.name for events in folders}
    assert all(log.read_text().count("epoch 0 training") == 1 for log in logs)
    assert all(len(list(events.glob("events*"))) == 1 for events in folders)


def test_runs_that_log_elsewhere_share_no_tensorboard_folder(folder, monkeypatch):
    monkeypatch.setattr("recbole.utils.logger.get_local_time", lambda: "now")
    for place in ("here", "there"):
        settings = {**QUIET, **SETTINGS, "data_path": str(folder), "state": "INFO", "checkpoint_dir": "saved"}
        monkeypatch.setattr("recbole.utils.logger.hashlib.md5", lambda text, **_: hashlib.sha1(b"same"))
        with without_handlers():
            run_recbole("BPR", "toy", config_dict={**settings, "log_dir": place})
    assert len(list(Path("log_tensorboard").iterdir())) == 2


def test_handlers_of_others_stay():
    own = logging.NullHandler()
    with without_handlers() as root:
        init_logger(Config("BPR", "toy", config_dict=QUIET))
        root.addHandler(own)
        close_log()
        assert root.handlers == [own]


def test_a_trainer_that_only_evaluates_writes_nothing(folder):
    run = start("BPR", folder, **SETTINGS)
    trainer = run.trainer()
    trainer.eval_collector.data_collect(run.train_data)
    trainer.evaluate(run.test_data, load_best_model=False)
    assert not Path("log_tensorboard").exists() and not Path("log").exists()


def test_a_log_on_a_full_disk_is_left_behind(capsys):
    with without_handlers() as root:
        screen = logging.NullHandler()
        root.addHandler(screen)
        root.addHandler(LogFile("/dev/full"))
        for _ in range(3):
            root.error("written")
        assert root.handlers == [screen]
    assert capsys.readouterr().err == "warning: log /dev/full: No space left on device; the run goes on without it\n"
