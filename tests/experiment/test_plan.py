"""Plans: what they mean, and what is refused before anything runs, with the place in the plan."""

from __future__ import annotations

from pathlib import Path

import pytest
from recbole.config import Config

from recbole_mm.experiment import experiment
from recbole_mm.experiment.choose import ranges_of, settings_to_try
from recbole_mm.experiment.experiment import checked_rows, searches_of
from recbole_mm.experiment.plan import SearchPlan, read_plan
from recbole_mm.experiment.plan_rows import rows_of
from recbole_mm.experiment.rows import Row
from recbole_mm.search_space import SearchRange
from recbole_mm.testing.toy import write_planted
from recbole_mm_command import main


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_planted(tmp_path_factory.mktemp("data"), {"visual": 6, "textual": 4})


def rows(data: Path, text: str):
    Path("plan.yaml").write_text(
        f"data: [{{toy: {{data_path: '{data}', benchmark_filename: [train, valid, test]}}}}]\n{text}"
    )
    return rows_of(read_plan("plan.yaml"), "plan.yaml")


def test_rows_and_their_settings(data):
    found = rows(data, """
models:
  - LightGCN
  - FREEDOM: {knn_k: 5}
  - best: {model: MARGO, backbone: DRAGON, label: MARGO on DRAGON}
seeds: 3
settings: {epochs: 7}
sweep: {POWERec: {prompt_num: [1, 2]}}
topk: [5]
""")  # fmt: skip
    assert [row.label for row in found] == [
        "LightGCN", "FREEDOM (knn_k=5)", "MARGO on DRAGON", "POWERec (prompt_num=1)", "POWERec (prompt_num=2)"
    ]  # fmt: skip
    assert all(row.settings["epochs"] == 7 and row.settings["valid_metric"] == "Recall@5" for row in found)
    assert found[1].settings["knn_k"] == 5 and found[2].model == "MARGO" and found[4].sweep == {"prompt_num": 2}
    assert read_plan("plan.yaml").seeds == [2020, 2021, 2022]
    assert len({row.identity for row in found}) == 5


def test_a_study_varies_its_row_and_what_was_chosen_for_it(data):
    found = rows(data, """
models: [{best: {model: FREEDOM, knn_k: [3, 5], n_layers: 3}}, BPR]
search: {budget: 2}
sweep: {best: [{knn_k: [4]}, {knn_k: [4], n_layers: [1, 2]}], VBPR: {reg_weight: [0.1]}}
""")  # fmt: skip
    studied = found[2:]
    assert [row.label for row in studied] == [
        "best (knn_k=4)", "best (knn_k=4, n_layers=1)", "best (knn_k=4, n_layers=2)", "VBPR (reg_weight=0.1)"
    ]  # fmt: skip
    assert [row.varies for row in studied] == ["best", "best", "best", ""]
    assert not any(row.grid for row in studied) and studied[0].settings["n_layers"] == 3
    chosen = studied[1].chosen({"knn_k": 5, "learning_rate": 0.01})
    assert [chosen.settings[key] for key in ("knn_k", "n_layers", "learning_rate")] == [4, 1, 0.01]
    assert len({row.identity for row in (found[0].chosen({"knn_k": 4}), studied[0])}) == 2  # a run of each


def test_a_list_is_searched_where_its_key_takes_no_list(data):
    (row,) = rows(data, """
models: [{FREEDOM: {knn_k: [5, 10], modalities: [visual], edge_dropout: 0.5}}]
search: {budget: 2, metric: NDCG@10}
""")  # fmt: skip
    assert row.grid == {"knn_k": [5, 10]}
    assert row.settings["modalities"] == ["visual"] and row.settings["valid_metric"] == "NDCG@10"
    (searched,) = ranges_of(row, SearchPlan())
    assert (searched.name, searched.values) == ("knn_k", (5, 10))


def test_no_budget_goes_to_keys_that_nothing_reads(data):
    shared, prompted = rows(data, """
models: [{POWERec: {user_embedding: shared}}, {POWERec: {weak_weight: 0.1}}]
search: {budget: 2}
""")  # fmt: skip
    assert [searched.name for searched in ranges_of(shared, SearchPlan())] == ["weak_weight", "reg_weight"]
    assert [searched.name for searched in ranges_of(prompted, SearchPlan())] == ["prompt_num", "reg_weight"]


def test_the_models_own_grid_without_the_keys_that_are_set(data):
    (row,) = rows(data, "models: [{FREEDOM: {edge_dropout: 0.5}}]\nsearch: {budget: 2}\n")
    assert [searched.name for searched in ranges_of(row, SearchPlan())] == ["modality_loss_weight"]
    (of_all,) = rows(data, "models: [FREEDOM]\nsettings: {edge_dropout: 0.5}\nsearch: {budget: 2}\n")
    assert [searched.name for searched in ranges_of(of_all, SearchPlan())] == ["modality_loss_weight"]
    (by_its_earlier_name,) = rows(data, "models: [{FREEDOM: {reg_weight: 0.1}}]\nsearch: {budget: 2}\n")
    assert [searched.name for searched in ranges_of(by_its_earlier_name, SearchPlan())] == ["edge_dropout"]


def test_a_data_set_that_is_not_there(data):
    Path("plan.yaml").write_text(f"data: [{{toys: {{data_path: '{data}'}}}}]\nmodels: [LightGCN]\n")
    with pytest.raises(ValueError, match="plan.yaml: data: toys: there is no folder"):
        rows_of(read_plan("plan.yaml"), "plan.yaml")
    Path("plan.yaml").write_text("data: [tiktoc]\nmodels: [LightGCN]\n")
    with pytest.raises(ValueError, match="plan.yaml: data: tiktoc: unknown data set 'tiktoc'"):
        rows_of(read_plan("plan.yaml"), "plan.yaml")


def test_rows_that_differ_in_a_key_of_an_earlier_name_are_two(data):
    found = rows(data, "models: [{a: {model: FREEDOM, reg_weight: 0.1}}, {b: {model: FREEDOM, reg_weight: 0.2}}]\n")
    assert [row.config()["modality_loss_weight"] for row in found] == [0.1, 0.2]


def test_no_search_without_anything_to_search(data):
    (row,) = rows(data, "models: [DMF]\nsearch: {budget: 2}\n")
    with pytest.raises(ValueError, match=r"entry 1 \(DMF\): nothing to search, as there is no DMF.hyper"):
        ranges_of(row, SearchPlan())


def names(row: Row, **grid: list) -> list[str]:
    return [searched.name for searched in ranges_of(row, SearchPlan(grid=grid))]


def test_the_grid_of_all_models_is_added_to_each_that_is_trained(data):
    found = rows(data, """
models: [VBPR, BPR, {FREEDOM: {knn_k: [5, 10]}}, {MGCN: {learning_rate: 0.01}}, DMF, EASE, ContentEASE, Pop]
search: {budget: 2, grid: {learning_rate: [0.1, 0.01]}}
""")  # fmt: skip
    rates = {"learning_rate": [0.1, 0.01]}
    assert [names(row, **rates) for row in found] == [
        ["reg_weight", "learning_rate"], ["learning_rate"], ["knn_k", "learning_rate"], ["contrast_weight"],
        ["learning_rate"], ["reg_weight"], ["reg_weight", "content_weight"], []
    ]  # fmt: skip
    (bpr,) = ranges_of(found[1], SearchPlan(grid=rates))
    assert len(bpr.values) > 2  # its own
    assert settings_to_try(ranges_of(found[0], SearchPlan(grid=rates)), 99, 0)[1]["learning_rate"] == 0.01


@pytest.mark.parametrize(
    "grid, message",
    [
        ("learning_rate: []", "search: grid: learning_rate has no values"),
        ("learning_rate: [0.1, 0.1]", "search: grid: learning_rate: 0.1 stands there twice"),
        ("learning_rate: [-1]", "search: grid: .*learning_rate: -1 is not allowed"),
        ("learnin_rate: [1]", r"search: grid: VBPR: .*'learnin_rate' \(did you mean learning_rate\?\)"),
        ("n_layers: [1]", "search: grid: VBPR: .*'n_layers'"),
        ("valid_metric: [a]", "search: grid: valid_metric is nothing to search"),
    ],
)
def test_what_is_no_grid_of_all_models(data, grid, message):
    with pytest.raises(ValueError, match=message) as caught:
        rows(data, f"models: [VBPR]\nsearch: {{grid: {{{grid}}}}}")
        plan = read_plan("plan.yaml")
        searches_of(checked_rows(plan, Path("plan.yaml"), ()), plan)
    assert "\n" not in str(caught.value) and "plan.yaml" in str(caught.value)


def test_settings_to_try_are_different_and_as_many_as_the_budget():
    ranges = [SearchRange("a", "choice", (1, 2, 3)), SearchRange("b", "choice", ("x", "y"))]
    every = settings_to_try(ranges, 10, 0)
    assert every == [{"a": a, "b": b} for a in (1, 2, 3) for b in ("x", "y")]
    some = settings_to_try(ranges, 4, 1)
    assert len(some) == 4 and all(some.count(trial) == 1 for trial in some) and some == settings_to_try(ranges, 4, 1)
    assert some != settings_to_try(ranges, 4, 2) or settings_to_try(ranges, 4, 3) != some
    (drawn,) = settings_to_try([SearchRange("c", "loguniform", (-5.0, -1.0))], 1, 0)
    assert 0.006 < drawn["c"] < 0.37


@pytest.mark.parametrize("model", ["BPR", "EASE", "ItemKNN", "LightGCN", "NGCF", "NeuMF", "SGL"])
def test_the_usual_baselines_of_recbole_have_a_grid_of_their_own_keys(data, model):
    """Each value is one that the model's settings take."""
    (row,) = rows(data, f"models: [{model}]\nsearch: {{budget: 2}}\n")
    ranges = ranges_of(row, SearchPlan())
    assert ranges
    for searched in ranges:
        for value in searched.values:
            assert searched.name in Config(model, "toy", config_dict={searched.name: value})


def test_a_model_without_settings_is_not_searched(data):
    (row,) = rows(data, "models: [Pop]\nsearch: {budget: 2}\n")
    assert ranges_of(row, SearchPlan()) == []


def test_an_interrupted_experiment_says_how_it_goes_on(data, monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(experiment, "run_experiment", interrupt)
    Path("plan.yaml").write_text(f"data: [{{toy: {{data_path: '{data}'}}}}]\nmodels: [LightGCN]\n")
    assert main(["experiment", "plan.yaml", "--out=out"]) == 130
    assert capsys.readouterr().err == "interrupted; type the same with --resume, and out goes on\n"
