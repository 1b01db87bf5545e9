"""Searches of an experiment: rungs at which all settings are compared, whatever was first, killed or begun again."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from recbole_mm.experiment import experiment, search
from recbole_mm.experiment.experiment import run_experiment
from recbole_mm.experiment.plan import read_plan
from recbole_mm.experiment.plan_rows import rows_of
from recbole_mm.experiment.record import FINISHED, STOPPED, Tried
from recbole_mm.experiment.rows import Row
from recbole_mm.experiment.search import RowSearch, tried
from recbole_mm.experiment.tables import read_store
from recbole_mm.experiment.trial import run_trial
from recbole_mm.testing.toy import write_planted
from tests.experiment.in_this_process import in_this_process

PLAN = """
data: [{toy: {data_path: '%s', benchmark_filename: [train, valid, test], load_col: {inter: [user_id, item_id]}}}]
models: [%s]
settings: {epochs: 9, stopping_step: 9, embedding_size: 8, train_batch_size: 64, learning_rate: 0.01, asha_grace: 2%s}
topk: [5]
search: {budget: 6, method: %s, metric: NDCG@5}
"""
MODELS = {
    "LightGCN": "{LightGCN: {n_layers: [1, 2], learning_rate: [0.1, 0.01, 0.001]}}",
    "FREEDOM": "{FREEDOM: {knn_k: 4, n_layers: [1, 2], learning_rate: [0.1, 0.01, 0.001]}}",
    "MARGO": "{MARGO: {backbone: VBPR, stage_one_epochs: 4, stage_two_epochs: 4, learning_rate: [0.1, 0.01, 0.001],"
    " calibration_weight: [0, 1]}}",
}


def quiet(line: str) -> None:
    pass


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_planted(tmp_path_factory.mktemp("data"), {"visual": 6, "textual": 4})


@pytest.fixture(autouse=True)
def one_process(monkeypatch):
    for module in (experiment, search):
        monkeypatch.setattr(module, "results_of", in_this_process)


def last_first(do, work, *_):
    while work:
        yield (piece := work.pop()), do(piece)


def trials_of(wanted: RowSearch, folder: str, tell=quiet) -> list[Tried]:
    ((ended, rows),) = tried([(wanted, Path(folder))], 1, tell)
    assert ended is wanted
    return rows


def searched(data: Path, model: str, method: str = "asha", more: str = "") -> RowSearch:
    Path("plan.yaml").write_text(PLAN % (data, MODELS[model], more, method))
    plan = read_plan(Path("plan.yaml"))
    (row,) = rows_of(plan, "plan.yaml")
    assert plan.search is not None and isinstance(row, Row)
    return RowSearch.of(row, plan.search, 2020)


@pytest.fixture(scope="module")
def found(data, tmp_path_factory) -> Callable[[str], list[Tried]]:
    """The trials of a model's search, made once for all tests, in the first that asks."""

    @cache
    def trials(model: str) -> list[Tried]:
        return trials_of(searched(data, model), str(tmp_path_factory.mktemp(model)))

    return trials


@pytest.mark.parametrize("model", MODELS)
def test_the_last_setting_is_trained_as_if_nothing_had_paused_it(data, found, model):
    rows = found(model)
    whole = trials_of(searched(data, model, "random"), "whole")
    last = 8 if model == "MARGO" else 9
    assert [row.settings for row in rows] == [row.settings for row in whole] and len(rows) == 6
    assert sorted(row.evaluations for row in rows) == [2, 2, 2, 2, 6, last]  # 6 settings, 2 of them, 1
    assert all((row.status == FINISHED) == (row.evaluations == last) for row in rows)
    assert {row.status for row in rows} == {FINISHED, STOPPED}
    for half, full in zip(rows, whole, strict=True):
        assert full.evaluations == last and full.status == FINISHED
        if half.status == FINISHED:
            assert half.chosen and half.value == full.value
    (best,) = (row for row in whole if row.chosen)
    assert best.value == max(row.value for row in whole)


def test_what_was_killed_changes_nothing(data, found, monkeypatch):
    """Killed in each trial, which is begun again then: behind an evaluation, before its outcome is kept."""
    whole, wanted, killed = found("FREEDOM"), searched(data, "FREEDOM"), []

    def dying(trial):
        outcome = run_trial(trial)
        if (piece := (trial.number, trial.limit)) not in killed:
            killed.append(piece)
            (trial.job.folder / f"outcome-{trial.limit}.json").unlink()
            raise KeyboardInterrupt
        return outcome

    monkeypatch.setattr(search, "run_trial", dying)
    for number in range(9):
        with pytest.raises(KeyboardInterrupt):
            trials_of(wanted, "killed")
        assert len(killed) == number + 1
    assert trials_of(wanted, "killed") == whole


def test_which_setting_comes_first_changes_nothing(data, found, monkeypatch):
    forwards, wanted = found("FREEDOM"), searched(data, "FREEDOM")
    monkeypatch.setattr(search, "results_of", last_first)
    assert trials_of(wanted, "backwards") == forwards


def test_rows_searched_side_by_side_find_what_each_finds_alone(data, found, monkeypatch):
    """Whichever trial of all that wait comes next; and the one that began first ends first where they come in order."""
    alone = [found(model) for model in ("LightGCN", "FREEDOM")]
    wanted = [searched(data, model) for model in ("LightGCN", "FREEDOM")]

    def at_random(do, work, *_):
        rng = random.Random(1)
        while work:
            piece = work[(place := rng.randrange(len(work)))]
            del work[place]
            yield piece, do(piece)

    for name, order in (("first", in_this_process), ("last", last_first), ("random", at_random)):
        monkeypatch.setattr(search, "results_of", order)
        ended = dict(
            (row.identity, rows) for row, rows in tried([(row, Path(name, row.identity)) for row in wanted], 1, quiet)
        )
        assert [ended[row.identity] for row in wanted] == alone
        if name == "first":
            assert list(ended) == [row.identity for row in wanted]


def test_a_setting_that_fails_is_listed_and_the_rest_goes_on(data):
    MODELS["broken"] = "{VBPR: {feature_adapter: befa, adapter_expansion: [0.1, 1], learning_rate: [0.01, 0.001]}}"
    lines: list[str] = []
    rows = trials_of(searched(data, "broken"), "out", lines.append)
    failed = [row for row in rows if row.status == "failed"]
    assert len(failed) == 2 and all("adapter_expansion" in row.error and math.isnan(row.value) for row in failed)
    assert any("adapter_expansion=0.1, learning_rate=0.01: ValueError" in line for line in lines)
    assert [row.settings["adapter_expansion"] for row in rows if row.chosen] == [1]


def test_no_setting_without_a_score_is_chosen(data):
    MODELS["all broken"] = "{VBPR: {feature_adapter: befa, adapter_expansion: 0.1, learning_rate: [0.01, 0.001]}}"
    with pytest.raises(ValueError, match=r"entry 1 \(VBPR\): no setting reached a validation score; first error: .*"):
        trials_of(searched(data, "all broken"), "out")


def test_another_budget_grid_or_method_is_another_search(data):
    first = searched(data, "LightGCN")
    assert searched(data, "LightGCN").identity == first.identity
    assert searched(data, "LightGCN", "random").identity != first.identity
    assert searched(data, "LightGCN", more=", asha_reduction: 2").identity != first.identity
    run_experiment(Path("plan.yaml"), Path("out"), 1, tell=quiet)
    text = Path("plan.yaml").read_text()
    Path("plan.yaml").write_text(text.replace("0.1, 0.01, 0.001", "0.05, 0.005"))
    run_experiment(Path("plan.yaml"), Path("out"), 1, resume=True, tell=quiet)
    trials = read_store(Path("out")).trials
    assert len(trials) == 4 and trials["chosen"].sum() == 1  # what the plan says now
