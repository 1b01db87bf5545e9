"""The plans of the comparison benchmark."""

from __future__ import annotations

import compare
import numpy as np
import pytest
import quality

from recbole_mm.setting_rules import common_settings, model_settings
from recbole_mm.settings import declared_keys
from recbole_mm.testing.toy import PRE_SPLIT, write_planted


def test_margo_is_compared_with_its_first_stage_and_shown_beside_its_backbone():
    ((base, *others),) = compare.margo(["visual", "textual"])
    assert base[1:] == ("MARGO", {"item_weights": False})
    assert ("DRAGON", {}) in [row[1:] for row in others]


def test_settings_of_every_plan_are_declared():
    for plan in compare.PLANS.values():
        for _, model, settings in (row for rows in plan(["visual", "textual"]) for row in rows):
            own = [key for key in settings if key not in (quality.BEGINS_WITH, "modalities", "epochs", "stopping_step")]
            kinds = [*model_settings(model, settings.get("backbone")), *common_settings()]
            assert [key for key in own if key not in declared_keys(kinds)] == [], (plan, model)


def test_two_stages_begin_with_the_same_first_one():
    ((base, *others),) = compare.margo(["visual", "textual"])
    beginnings = {label: settings.get("stage_one_checkpoint") for label, _, settings in others}
    alone = "without two stages", "the backbone's own run (DRAGON)", "visual only", "textual only"
    two_stages = [label for label in beginnings if label not in alone]
    assert {"MARGO", "frozen weights", "without calibration", "without stop-gradient"} <= set(two_stages)
    assert {label for label, begins_with in beginnings.items() if begins_with == base[2]} == set(two_stages)
    assert {beginnings[label] for label in beginnings if label not in two_stages} == {None}


def test_settings_for_all_rows_reach_the_runs_they_begin_with():
    (rows,) = compare._with({"learning_rate": 0.001}, compare.margo(["visual"]))
    settings = {label: one for label, _, one in rows}
    base = settings["without weights (stage one alone)"]
    assert base == {"learning_rate": 0.001, "item_weights": False}
    assert settings["MARGO"] == {"learning_rate": 0.001, "stage_one_checkpoint": base}


def test_settings_for_ludp_leave_its_baselines_alone():
    (rows,) = compare._with({"reg_weight": 0.1}, compare.ludp(["visual"]))
    own = {label: one for label, _, one in rows}
    assert (own["LightGCN"], own["LATTICE"]) == ({}, {"feature_adapter": "none"})
    assert own["sum"] == {"reg_weight": 0.1, "fusion": "sum"}


def test_a_run_begins_with_the_first_stage_of_another(tmp_path, monkeypatch):
    monkeypatch.setattr(quality, "DATA", tmp_path)
    monkeypatch.setattr(quality.harness, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(quality.harness, "call_alone", lambda function, keep, **arguments: function(**arguments))
    data = write_planted(tmp_path / "data", {"visual": 6, "textual": 5})
    common = {**PRE_SPLIT, "epochs": 2, "topk": [10, 20], "train_batch_size": 64, "knn_k": 3}
    stage_one = {**common, "item_weights": False}
    stage_two = {**common, "stage_one_checkpoint": stage_one, "stage_two_epochs": 1}
    jobs = [("MARGO", 2020, stage_one), ("MARGO", 2020, stage_two)]
    assert quality.finish(jobs, data / "toy", per_user=True)
    rows = quality.rows_of(data / "toy")
    assert [(row["settings"], row["epochs"]) for row in rows] == [(stage_one, 2), (stage_two, 1)]
    (tmp_path / "weights").rename(tmp_path / "gone")
    assert quality.finish(jobs, data / "toy")
    assert not (tmp_path / "weights").exists()
    with pytest.raises(FileNotFoundError, match="MARGO-2020-.* does not exist"):
        quality.finish(jobs[1:], data / "toy", again=True)
    assert quality.finish(jobs, data / "toy", again=True)
    assert [row["epochs"] for row in quality.rows_of(data / "toy")] == [2, 1]


def test_change_is_over_the_seeds_of_both_and_p_needs_values_per_user(tmp_path, monkeypatch):
    def row(model: str, seed: int, ndcg: float) -> dict:
        test = {"recall@10": 0.1, "recall@20": 0.2, "ndcg@10": 0.1, "ndcg@20": ndcg}
        return {"model": model, "seed": seed, "settings": {}, "test": test, "epochs": 10 * seed}

    rows = [row("A", 1, 0.2), row("A", 2, 0.4), row("B", 2, 0.5)]
    monkeypatch.setattr(compare, "rows_of", lambda folder: rows)
    monkeypatch.setattr(compare, "per_user_file", lambda folder, key: tmp_path / f"{key['model']}{key['seed']}.npz")
    variants = [("first", "A", {}), ("second", "B", {}), ("third", "C", {})]
    first, second = compare._cells(variants, tmp_path, [1, 2, 3])
    assert first[:3] == ["first", 2, "0.1000 ± 0.0000"]
    assert first[5:] == ["0.3000 ± 0.1414", "", "", "15"]
    assert second[5:] == ["0.5000", "+25.0%", "", "20"]
    users = {"A2": np.array([0.2, 0.3, 0.7]), "B2": np.array([0.3, 0.5, 0.7])}
    for name, values in users.items():
        np.savez(tmp_path / f"{name}.npz", **{"ndcg@20": values})
    # paired differences .1, .2, 0: t = .1 / (.1 / sqrt 3) = sqrt 3 with 2 degrees of freedom, p = 1 - t / sqrt(t^2 + 2)
    assert float(compare._cells(variants, tmp_path, [1, 2])[1][7]) == pytest.approx(1 - 3**0.5 / 5**0.5, abs=5e-3)
