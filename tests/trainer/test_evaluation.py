"""An evaluation encodes users and items once, and measures what RecBole measures."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest
import torch
from recbole.trainer import Trainer

from recbole_mm.testing.toy import PRE_SPLIT, start, write_planted
from tests.process_memory import memory


@pytest.fixture(scope="module")
def data_path(tmp_path_factory) -> Path:
    return write_planted(tmp_path_factory.mktemp("planted"), {"visual": 6})


@pytest.fixture
def begin(data_path):
    """Starts a run of POWERec on the planted data."""

    def begin(**settings):
        measured = {"topk": [5], "metrics": ["Recall", "NDCG"], "valid_metric": "NDCG@5"}
        return start("POWERec", data_path, **{**PRE_SPLIT, **measured, "embedding_size": 8, **settings})

    return begin


def count_encodings(run) -> list[int]:
    encode, counted = run.model.encode, []

    def counting():
        counted.append(1)
        return encode()

    run.model.encode = counting
    return counted


def test_an_evaluation_encodes_once(begin):
    run = begin(eval_batch_users=7)
    trainer, counted = run.trainer(), count_encodings(run)
    assert len(run.valid_data) == 6
    trainer.evaluate(run.valid_data, load_best_model=False)
    assert len(counted) == 1
    trainer.evaluate(run.test_data, load_best_model=False)
    assert len(counted) == 2


def test_sampled_evaluation_encodes_once(begin):
    run = begin(eval_args={"mode": "uni20"}, eval_batch_size=50)
    trainer, counted = run.trainer(), count_encodings(run)
    assert len(run.test_data) > 1
    trainer.evaluate(run.test_data, load_best_model=False)
    assert len(counted) == 1


def test_nothing_is_cached_outside_an_evaluation(begin):
    run = begin()
    trainer, counted = run.trainer(), count_encodings(run)
    trainer.evaluate(run.valid_data, load_best_model=False)
    users = {"user_id": torch.tensor([1, 2])}
    run.model.full_sort_predict(users)
    run.model.full_sort_predict(users)
    assert len(counted) == 3

    def fail(*_):
        raise RuntimeError("broken evaluation")

    trainer.eval_collector.eval_batch_collect = fail
    with pytest.raises(RuntimeError, match="broken evaluation"):
        trainer.evaluate(run.valid_data, load_best_model=False)
    run.model.full_sort_predict(users)
    assert len(counted) == 5


def test_evaluation_is_recboles(begin):
    run = begin(eval_batch_users=7)
    result = run.trainer().evaluate(run.test_data, load_best_model=False)
    expected = Trainer(run.config, run.model).evaluate(run.test_data, load_best_model=False)
    assert result == expected
    assert set(result) == {"recall@5", "ndcg@5"}


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is glibc's")
def test_freed_memory_does_not_outlast_an_evaluation(begin):
    run = begin()
    trainer = run.trainer()
    blocks = [torch.ones(4 << 20) for _ in range(8)]  # 16 MB each, which glibc keeps
    full = memory("VmRSS")
    del blocks
    assert memory("VmRSS") > full - 20
    trainer.evaluate(run.valid_data, load_best_model=False)
    assert memory("VmRSS") < full - 60  # of 128 MB; the first evaluation takes some for itself
