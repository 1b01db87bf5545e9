"""Searches of an experiment: rungs at which all settings are compared, whatever was first, killed or begun again."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from recbole_mm.experiment import search
from recbole_mm.experiment.experiment import run_experiment
from recbole_mm.experiment.plan import read_plan
from recbole_mm.experiment.rows import Row, rows_of
from recbole_mm.experiment.search import RowSearch, tried
from recbole_mm.experiment.tables import read_store
from recbole_mm.experiment.trial import FINISHED, STOPPED, run_trial
from recbole_mm.testing.toy import write_planted

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


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_planted(tmp_path_factory.mktemp("data"), {"visual": 6, "textual": 4})


@pytest.fixture(autouse=True)
def one_process(monkeypatch):
    monkeypatch.setattr(search, "results_of", lambda do, work, *_: ((one, do(one)) for one in work))


def searched(data: Path, model: str, method: str = "asha", more: str = "") -> RowSearch:
    Path("plan.yaml").write_text(PLAN % (data, MODELS[model], more, method))
    plan = read_plan(Path("plan.yaml"))
    (row,) = rows_of(plan, "plan.yaml")
    assert plan.search is not None and isinstance(row, Row)
    return RowSearch.of(row, plan.search, 2020)


def quiet(line: str) -> None:
    pass


@pytest.mark.parametrize("model", MODELS)
def test_the_last_setting_is_trained_as_if_nothing_had_paused_it(data, model):
    rows = tried(searched(data, model), Path("halved"), 1, quiet)
    whole = tried(searched(data, model, "random"), Path("whole"), 1, quiet)
    last = 8 if model == "MARGO" else 9
    assert [row["settings"] for row in rows] == [row["settings"] for row in whole] and len(rows) == 6
    assert sorted(row["evaluations"] for row in rows) == [2, 2, 2, 2, 6, last]  # 6 settings, 2 of them, 1
    assert all((row["status"] == FINISHED) == (row["evaluations"] == last) for row in rows)
    assert {row["status"] for row in rows} == {FINISHED, STOPPED}
    for half, full in zip(rows, whole, strict=True):
        assert full["evaluations"] == last and full["status"] == FINISHED
        if half["status"] == FINISHED:
            assert half["chosen"] and half["value"] == full["value"]
    (best,) = (row for row in whole if row["chosen"])
    assert best["value"] == max(row["value"] for row in whole)


def test_what_was_killed_changes_nothing(data, monkeypatch):
    """Killed between any two trials, and within one: behind an evaluation, before its state or its outcome is kept."""
    wanted = searched(data, "FREEDOM")
    whole = tried(wanted, Path("whole"), 1, quiet)
    for at in range(9):
        runs = iter(range(100))

        def dying(trial, at=at, runs=runs):
            outcome = run_trial(trial)
            if next(runs) == at:
                (trial.job.folder / f"outcome-{trial.limit}.json").unlink()
                raise KeyboardInterrupt
            return outcome

        with monkeypatch.context() as patch:
            patch.setattr(search, "run_trial", dying)
            with pytest.raises(KeyboardInterrupt):
                tried(wanted, Path(f"killed-{at}"), 1, quiet)
        assert tried(wanted, Path(f"killed-{at}"), 1, quiet) == whole


def test_which_setting_comes_first_changes_nothing(data, monkeypatch):
    wanted = searched(data, "FREEDOM")
    forwards = tried(wanted, Path("forwards"), 1, quiet)
    monkeypatch.setattr(search, "results_of", lambda do, work, *_: ((one, do(one)) for one in reversed(work)))
    assert tried(wanted, Path("backwards"), 1, quiet) == forwards


def test_a_setting_that_fails_is_listed_and_the_rest_goes_on(data):
    MODELS["broken"] = "{VBPR: {feature_adapter: befa, adapter_expansion: [0.1, 1], learning_rate: [0.01, 0.001]}}"
    told: list[str] = []
    rows = tried(searched(data, "broken"), Path("out"), 1, told.append)
    failed = [row for row in rows if row["status"] == "failed"]
    assert len(failed) == 2 and all("adapter_expansion" in row["error"] and math.isnan(row["value"]) for row in failed)
    assert any("adapter_expansion=0.1, learning_rate=0.01: ValueError" in line for line in told)
    assert [row["settings"]["adapter_expansion"] for row in rows if row["chosen"]] == [1]


def test_no_setting_without_a_score_is_chosen(data):
    MODELS["all broken"] = "{VBPR: {feature_adapter: befa, adapter_expansion: 0.1, learning_rate: [0.01, 0.001]}}"
    with pytest.raises(ValueError, match=r"entry 1 \(VBPR\): no setting reached a validation score; first error: .*"):
        tried(searched(data, "all broken"), Path("out"), 1, quiet)


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
